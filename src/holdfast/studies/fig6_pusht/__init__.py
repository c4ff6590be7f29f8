"""Noise in training, at deployment, or both: human demonstrations of Push-T (Block et al. 2023, Figure 6)."""
