"""Wrong, learned, scaled, delayed or no gains on the 2-D quadrotor: how good the synthesis must be."""
