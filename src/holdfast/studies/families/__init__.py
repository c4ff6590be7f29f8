"""All generative families at equal budgets on three tasks: an obstacle with two ways past it, Avoid, and Push-T."""
