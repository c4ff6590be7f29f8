"""What the studies of the 2-D quadrotor share: demonstrations and starts, arms, and scores."""
