"""Cloning gains against cloning raw actions on the 2-D quadrotor (Block et al. 2023, Figure 5)."""
