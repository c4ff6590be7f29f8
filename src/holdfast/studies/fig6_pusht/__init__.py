"""Noise in training alone, or also at deployment: human demonstrations of Push-T (Block et al. 2023, Figure 6)."""
