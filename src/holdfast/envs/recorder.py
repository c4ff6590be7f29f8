"""Records a rollout step by step; each episode's part ends where the episode is over."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..types import Observation, Trajectory
from .drawn_depth import depth_ranges_of
from .environment import Environment, Step
from .rollouts import Rollout


class Recorder:
    """Records the steps of all episodes; those that are over or lost repeat their last one in `now`."""

    def __init__(self, first: Step, *, images: bool = False) -> None:
        # a copy: the environment may go on writing into its own tensors
        copied = first.observation.map(torch.clone)
        simulated = None if first.simulator_state is None else first.simulator_state.clone()
        self.now = replace(first, observation=copied, state=first.state.clone(), simulator_state=simulated)
        self.images = images
        none: Bool[Tensor, " b"] = torch.zeros_like(first.terminated)
        self.over: Bool[Tensor, " b"] = none
        self.lost: Bool[Tensor, " b"] = none
        self._truncated: Bool[Tensor, " b"] = none
        self._solved: Bool[Tensor, " b"] = none
        self._clipped = none.double()
        self._filtered: tuple[Tensor, Tensor] | None = None
        self._reports_success = False
        self._extra = dict[str, Float[Tensor, " b"]]()
        self._columns: dict[str, list[Tensor]] = {"states": [self.now.state]}

    def add(
        self,
        action: Float[Tensor, "b m"],
        following: Step,
        *,
        lost: Bool[Tensor, " b"],
        clipped: Bool[Tensor, " b"],
        actor: Int[Tensor, " b"] | None = None,
        filtered: tuple[Bool[Tensor, " b"], Bool[Tensor, " b"]] | None = None,
    ) -> None:
        """Record one step of the episodes that are still running."""
        running = ~self.over & ~self.lost
        lost = lost | ~_finite(following)
        if following.lost is not None:
            lost = lost | following.lost
        follows = running & ~lost
        self._add_columns(action if following.action is None else following.action, following, running, follows, actor)
        self._measure(following, running, follows, clipped)
        if filtered is not None:
            counts = self._filtered or (torch.zeros_like(self._clipped), torch.zeros_like(self._clipped))
            self._filtered = counts[0] + (running & filtered[0]), counts[1] + (running & filtered[1])
        self.lost = self.lost | (running & lost)
        self.over = self.over | (follows & following.over)
        self._columns.setdefault("lost", []).append(self.lost)
        self.now = _held(self.now, following, follows)
        self._columns["states"].append(self.now.state)

    def _add_columns(
        self, action: Tensor, following: Step, running: Tensor, follows: Tensor, actor: Tensor | None
    ) -> None:
        seen = self.now.observation
        values = {
            "actions": action.masked_fill(~running[:, None], 0.0),
            "rewards": torch.where(follows, following.reward.double(), 0.0),
            "over": self.over,
            "observation.state": seen.state,
            "actors": torch.zeros_like(running, dtype=torch.int64) if actor is None else actor,
        }
        if seen.environment_state is not None:
            values["observation.environment_state"] = seen.environment_state
        if self.now.simulator_state is not None:
            values["simulator_state"] = self.now.simulator_state
        if self.images:
            values |= {f"camera {name}": image.clone() for name, image in seen.images.items()}
        for name, value in values.items():
            self._columns.setdefault(name, []).append(value)

    def _measure(self, following: Step, running: Tensor, follows: Tensor, clipped: Tensor) -> None:
        if following.success is not None:
            self._reports_success = True
            self._solved = self._solved | (follows & following.success)
        self._truncated = self._truncated | (follows & following.truncated & ~following.terminated)
        self._clipped = self._clipped + (follows & clipped)
        for name, values in following.extra.items():
            known = self._extra.get(name, values.double())
            self._extra[name] = torch.where(running, values.double(), known)

    def rollout(self, environment: Environment, *, steps: int | None = None) -> Rollout:
        """The recorded steps as a rollout, padded to a number of steps."""
        # popped one by one: images are large, and a list and its stack are held at once
        columns = {name: torch.stack(self._columns.pop(name), dim=1) for name in list(self._columns)}
        if _shows_the_state(columns):
            del columns["observation.state"]
        missing = 0 if steps is None else steps - columns["actions"].shape[1]
        if missing:
            columns = _padded(columns, missing, over=self.over)
        actors = columns["actors"]
        return Rollout(
            trajectory=Trajectory(actions=columns["actions"], states=columns["states"]),
            observations=_observations(columns),
            rewards=columns["rewards"],
            over=columns["over"],
            lost=columns["lost"],
            terminated=(self.over & ~self._truncated) | self.lost,
            truncated=self._truncated,
            success=self._solved & ~self.lost if self._reports_success else None,
            clipped=self._clipped,
            filtered=None if self._filtered is None else self._filtered[0],
            infeasible=None if self._filtered is None else self._filtered[1],
            actors=actors if bool(actors.any()) else None,
            extra=self._extra,
            simulator_states=columns.get("simulator_state"),
            dt=environment.dt,
            environment=environment.name,
            names=environment.names,
            depth_ranges=depth_ranges_of(environment),
            fixed_length=environment.fixed_length,
        )


def _padded(columns: dict[str, Tensor], missing: int, *, over: Bool[Tensor, " b"]) -> dict[str, Tensor]:
    """All columns, their last step repeated; actions and rewards are 0 there."""
    last = {name: values[:, -1:] for name, values in columns.items()}
    last |= {name: torch.zeros_like(last[name]) for name in ("actions", "rewards", "actors")} | {"over": over[:, None]}
    return {name: torch.cat([values, *[last[name]] * missing], dim=1) for name, values in columns.items()}


def _shows_the_state(columns: dict[str, Tensor]) -> bool:
    """Whether the observations are exactly the states."""
    rest = [name for name in columns if name.startswith(("observation.environment", "camera "))]
    return not rest and torch.equal(columns["observation.state"], columns["states"][:, :-1])


def _observations(columns: dict[str, Tensor]) -> Observation | None:
    """Observations; `None` if they are the states."""
    images = {name.removeprefix("camera "): values for name, values in columns.items() if name.startswith("camera ")}
    state = columns.get("observation.state")
    if state is None:
        return None
    return Observation(state=state, environment_state=columns.get("observation.environment_state"), images=images)


def _finite(step: Step) -> Bool[Tensor, " b"]:
    """Episodes whose simulator returned finite values."""
    values = torch.cat(
        [step.state, step.observation.vector.to(step.state), step.reward[:, None].to(step.state)], dim=-1
    )
    return values.isfinite().all(dim=-1)


def _held(before: Step, after: Step, follows: Bool[Tensor, " b"]) -> Step:
    """The next step; episodes that are over or lost repeat the one before."""

    def held(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(follows.view(-1, *[1] * (new.dim() - 1)), new, old)

    was, now = before.observation, after.observation
    rest = now.environment_state
    if rest is not None and was.environment_state is not None:
        rest = held(rest, was.environment_state)
    observation = replace(now, state=held(now.state, was.state), environment_state=rest)
    simulated = after.simulator_state
    if simulated is not None and before.simulator_state is not None:
        simulated = held(simulated, before.simulator_state)
    state = held(after.state, before.state)
    return replace(after, observation=observation, state=state, simulator_state=simulated)
