"""Where policies meet systems and environments."""

from .rollout import Acts, Rollout, rollout

__all__ = ["Acts", "Rollout", "rollout"]
