"""What a batch of episodes did, step by step; each episode's part ends where it was over."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..data import Frames
from ..types import Episodes, Observation
from .environment import Seen, Step

__all__ = ["Tape"]


class Tape:
    """Takes in one control step of all episodes after the other, and gives them back as `Episodes`.

    Args:
        count: How many episodes.
        pictures: Keep what the cameras saw.
    """

    def __init__(self, count: int, *, pictures: bool = False) -> None:
        self.pictures = pictures
        self.over: Bool[Tensor, " b"] = torch.zeros(count, dtype=torch.bool)
        self.success: Bool[Tensor, " b"] | None = None
        self.returns: Float[Tensor, " b"] = torch.zeros(count, dtype=torch.float64)
        self.best_reward: Float[Tensor, " b"] = torch.full((count,), -torch.inf, dtype=torch.float64)
        self.extra: dict[str, Float[Tensor, " b"]] = {
            name: torch.zeros(count, dtype=torch.float64) for name in ("clipped", "lost")
        }
        self._final: Tensor | None = None
        self._flown = list[Bool[Tensor, " b"]]()
        self._rows: dict[str, list[Tensor]] = {}

    def add(
        self,
        seen: Seen,
        action: Float[Tensor, "b m"],
        brought: Step,
        *,
        lost: Bool[Tensor, " b"],
        clipped: Bool[Tensor, " b"],
    ) -> Seen:
        """Keep a step of the episodes that were not over; what they show next.

        Args:
            seen: What was shown before it.
            action: What was done.
            brought: What came of it.
            lost: Episodes whose policy gave no number.
            clipped: Episodes whose action was brought to the bounds.
        """
        flown = ~self.over
        lost = lost | ~_finite(brought)
        following = _held(seen, brought.seen, lost)
        reward = torch.where(flown & ~lost, brought.reward.to(self.returns), 0.0)
        self._keep(seen, action, reward)
        self._flown.append(flown)
        self._final = following.state if self._final is None else _where(flown, following.state, self._final)
        self.returns = self.returns + reward
        self.best_reward = torch.where(flown, self.best_reward.maximum(reward), self.best_reward)
        self._count(brought, flown, lost=lost, clipped=clipped & ~lost)
        self.over = self.over | brought.over | lost
        return following

    def _count(self, brought: Step, flown: Tensor, *, lost: Tensor, clipped: Tensor) -> None:
        if brought.success is not None:
            before = torch.zeros_like(flown) if self.success is None else self.success
            self.success = before | (flown & ~lost & brought.success)
        self.extra["clipped"] = self.extra["clipped"] + (flown & clipped)
        self.extra["lost"] = self.extra["lost"] + (flown & lost)
        for name, values in brought.extra.items():
            known = self.extra.get(name)
            now = values.to(self.returns)
            self.extra[name] = now if known is None else torch.where(flown, now, known)

    def _keep(self, seen: Seen, action: Tensor, reward: Tensor) -> None:
        observation = seen.observation
        step = {"state": seen.state, "action": action, "reward": reward, "observation": observation.state}
        if observation.environment_state is not None:
            step["environment_state"] = observation.environment_state
        if self.pictures:
            step |= {f"camera {name}": pictures for name, pictures in observation.images.items()}
        for name, values in step.items():
            self._rows.setdefault(name, []).append(values)

    def episodes(self, *, dt: float, system: str, names: Mapping[str, tuple[str, ...]]) -> Episodes:
        """The steps of each episode until it was over, laid end to end."""
        flown = torch.stack(self._flown, dim=1)
        # popped one by one: pictures are large, and a list and its stack are held at once
        rows = {name: torch.stack(self._rows.pop(name), dim=1)[flown] for name in list(self._rows)}
        rest = rows.get("environment_state")
        same = rest is None and torch.equal(rows["observation"], rows["state"])
        return Episodes(
            actions=rows["action"],
            states=rows["state"],
            lengths=flown.sum(dim=1),
            final_states=self._final,
            observations=None if same else Observation(state=rows["observation"], environment_state=rest),
            cameras={
                name.removeprefix("camera "): Frames(values)
                for name, values in rows.items()
                if name.startswith("camera ")
            },
            rewards=rows["reward"],
            names=names,
            dt=dt,
            system=system,
        )


def _where(chosen: Bool[Tensor, " b"], new: Float[Tensor, "b n"], old: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    return torch.where(chosen[:, None], new, old)


def _finite(brought: Step) -> Bool[Tensor, " b"]:
    """Episodes whose simulator gave numbers."""
    seen = brought.seen
    numbers = torch.cat([seen.state, seen.observation.vector, brought.reward[:, None].to(seen.state)], dim=-1)
    return numbers.isfinite().all(dim=-1)


def _held(before: Seen, after: Seen, lost: Bool[Tensor, " b"]) -> Seen:
    """What is shown next; lost episodes show what they showed before."""
    was, now = before.observation, after.observation
    rest = now.environment_state
    if rest is not None and was.environment_state is not None:
        rest = _where(~lost, rest, was.environment_state)
    return Seen(
        observation=replace(now, state=_where(~lost, now.state, was.state), environment_state=rest),
        state=_where(~lost, after.state, before.state),
    )
