"""What inference delay costs, and what each way to act meanwhile gives back, on a fork and on the 2-D quadrotor."""
