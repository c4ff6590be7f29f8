"""What a correction learns from: plans for demonstrated observations, step by step, beside what was demonstrated."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..data import Actions, gathered, rotations_of
from ..errors import RecipeError
from ..policy import Planner, Policy, PolicySpec
from ..recipe import Recipe
from ..seeding import stream
from ..types import Episodes, PrimitiveControllers
from .correction_state import Checkpoints, Stored
from .data_sizes import check_data_sizes
from .dataset import TrainingSet, training_set
from .preparation import weights_of

PLANNED = 256
"""Number of plans that are made at once."""


@dataclass(frozen=True)
class Steps:
    """Control steps of planned chunks, inside their episodes.

    Attributes:
        observations: Newest observation of each step, in the data's units.
        planned: Planned action, at the demonstrated feedback state.
        demonstrated: Demonstrated action.
        phase: Index of the step in its chunk, over the horizon.
    """

    observations: Float[Tensor, "s d"]
    planned: Float[Tensor, "s m"]
    demonstrated: Float[Tensor, "s m"]
    phase: Float[Tensor, " s"]


class Planning:
    """Plans for random demonstrated observations, in blocks.

    Args:
        planner: Planner of the policy.
        recipe: Recipe of the policy.
        episodes: Episodes as `choose_episodes` returns them.
        count: Number of plans.
        seed: Random seed of the observations and of the plans.

    Raises:
        RecipeError: The episodes have other sizes than the policy.
    """

    def __init__(self, planner: Planner, recipe: Recipe, episodes: Episodes, count: int, *, seed: int) -> None:
        check_corrected(planner.spec)
        check_data_sizes(planner.spec, episodes)
        bare, weights = replace(planner.spec, codec=Actions()), weights_of(recipe, episodes)
        controllers = PrimitiveControllers.open_loop(episodes.actions, episodes.states)
        self.data = training_set(bare, episodes, controllers, weights=weights)
        self.states, self.plans, self.count = episodes.states, Policy(planner).executor.plans, count
        self.rows = stream(seed, "correction rows")
        self.noise = stream(seed, "correction plans", device=next(planner.model.parameters()).device)
        self.done, self.parts = 0, list[Steps]()

    def steps(
        self, progress: Callable[[int], None] = lambda done: None, checkpoints: Checkpoints | None = None
    ) -> Steps:
        """All steps of the plans that are inside their episodes.

        Args:
            progress: Called with the number of plans that are done.
            checkpoints: Where stopped planning is kept, and continued from.

        Raises:
            Interrupted: A signal has arrived; a checkpoint was written.
        """
        if checkpoints is not None:
            checkpoints.continue_plans(self._restore)
        while self.done < self.count:
            self._plan(min(PLANNED, self.count - self.done))
            progress(self.done)
            if checkpoints is not None:
                checkpoints.after_plans(self.done, self.count, self._stored)
        return self._joined()

    @torch.no_grad()
    def _plan(self, count: int) -> None:
        now = self.data.draw(count, self.rows)
        window = self.data.observations.map(partial(gathered, rows=self.data.windows.observation_rows(now)))
        self.parts.append(_inside(self.data, self.states, now, self.plans.plan(window, rng=self.noise)))
        self.done += count

    def _joined(self) -> Steps:
        if len(self.parts) > 1:
            names = vars(self.parts[0])
            self.parts = [Steps(**{name: torch.cat([getattr(part, name) for part in self.parts]) for name in names})]
        return self.parts[0]

    def _stored(self) -> Stored:
        """All that the next plans depend on."""
        tensors = {f"steps/{name}": value for name, value in vars(self._joined()).items()}
        streams = {"rows": self.rows.get_state(), "noise": self.noise.get_state()}
        return Stored({"done": self.done}, tensors | streams)

    def _restore(self, stored: Stored) -> None:
        self.done, self.parts = int(stored.about["done"]), [Steps(**stored.under("steps"))]
        self.rows.set_state(stored.tensors["rows"])
        self.noise.set_state(stored.tensors["noise"])


def _inside(
    data: TrainingSet, states: Float[Tensor, "rows n"], now: Int[Tensor, " b"], chunk: PrimitiveControllers
) -> Steps:
    """The steps of plans that are inside their episodes."""
    rows, mask = data.windows.chunk_rows(now)
    horizon = rows.shape[1]
    phase = (torch.arange(horizon) / horizon).expand(mask.shape)
    return Steps(
        observations=data.observations.vector[rows[mask]],
        planned=chunk(states[rows])[mask],
        demonstrated=data.codes[rows[mask]],
        phase=phase[mask],
    )


def check_corrected(spec: PolicySpec) -> None:
    """Refuse policies that cannot be corrected.

    Raises:
        RecipeError: The policy sees pictures, or acts on or observes rotations as six numbers.
    """
    if spec.observed_rotations or rotations_of(spec.codec):
        raise RecipeError(
            "the policy encodes rotations as six numbers, to which no correction can be added. Train a policy without "
            "--absolute-actions, --action-rotations and --observation-rotations for it."
        )
    if spec.vision is not None:
        raise RecipeError(
            f"the policy sees pictures of {', '.join(spec.vision.cameras)}, and corrections of such policies cannot be "
            "trained. Train a policy without --images for it."
        )
