"""What the studies of the 2-D quadrotor share: world, arms, judged flights."""
