"""Episodes many times as long as the demonstrations, in still air and in gusts, on the 2-D quadrotor."""
