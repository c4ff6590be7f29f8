"""Raw pixels, an estimator of states, or the states themselves: what a policy of Push-T should see."""
