"""All generative families at equal budgets on three tasks: a fork, D3IL's Avoid, and Push-T."""
