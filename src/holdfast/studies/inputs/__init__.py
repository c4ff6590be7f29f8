"""Raw pixels, a pre-trained encoder, an estimator of states, or the states themselves: what a policy should see."""
