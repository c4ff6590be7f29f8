"""The hand-over from one skill to the next, without a jump of the action.

    step                    t     t+1   t+2   t+3         overlap = 2
    old chunk               κ₃    κ₄    (κ₅)
    prefix                  κ₃    κ₄    κ′₂   κ′₃         κ′ planned with κ₃, κ₄ as its known first steps
    blend                   ⅔κ₃+⅓κ′₀  ⅓κ₄+⅔κ′₁  κ′₂       each controller at the current state

A family that conditions exactly on known first steps plans the new skill's chunk as a continuation of the old one. For
other families, and where the codes of the two skills differ, the actions of both chunks are blended linearly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...data import encode
from ...errors import RecipeError
from ...rotations import Rotation, mean
from ...types import Prefix
from ..realtime.way import steps_to_hold
from .library import Skill
from .running import Running

Way: TypeAlias = Literal["prefix", "blend", "naive"]


@dataclass(frozen=True)
class Handover:
    """How one skill takes over from another.

    Attributes:
        way: "prefix" hands the chunk in force to the next skill where its family conditions on a prefix, and blends
            elsewhere; "blend" blends everywhere; "naive" executes the new chunk at once.
        overlap: Number of control steps for which the old chunk goes on.

    Raises:
        RecipeError: Another way, or a negative overlap.
    """

    way: Way = "prefix"
    overlap: int = 2

    def __post_init__(self) -> None:
        if self.way not in ("prefix", "blend", "naive"):
            raise RecipeError(f"expected a hand-over by 'prefix', 'blend' or 'naive', got {self.way!r:.80}.")
        if self.overlap < 0:
            raise RecipeError(f"expected an overlap of 0 steps or more, got {self.overlap}.")

    def held(self, old: Skill, new: Skill, left: int) -> int:
        """Number of steps of the chunk in force that the new skill's plan continues; 0 where it cannot.

        Args:
            old: The skill that runs.
            new: The skill that takes over.
            left: Number of planned steps of the chunk in force.
        """
        if self.way != "prefix" or not self.overlap or old.trained is None or new.trained is None:
            return 0
        planner = new.trained.planner
        exact = planner.generator.takes_clean_prefix or planner.generator.conditioning == "exact"
        if not exact or old.trained.spec.codec != new.trained.spec.codec:
            return 0
        return steps_to_hold(self.overlap, planner.prefix_delays, min(left, planner.spec.horizon - 1))


def prefix_of(running: Running, held: Int[Tensor, " b"], new: Skill) -> Prefix:
    """The first steps of the chunks in force as known first steps of the new skill's chunks."""
    assert new.trained is not None
    planner = new.trained.planner
    codes = planner.code_scale.normalize(encode(planner.spec.codec, running.rest(planner.spec.horizon)))
    return Prefix(chunk=codes, weights=(torch.arange(planner.spec.horizon) < held[:, None]).to(codes))


@dataclass(frozen=True)
class Fading:
    """Old chunks that go on for some steps after a switch.

    Attributes:
        running: The old chunks.
        skills: Number of the skill that each belongs to.
        since: Number of steps since the switch of each episode.
        lasting: Number of steps for which each old chunk goes on.
        exact: Episodes whose new chunk continues the old one: its first steps are the old ones.
    """

    running: Running
    skills: Int[Tensor, " b"]
    since: Int[Tensor, " b"]
    lasting: Int[Tensor, " b"]
    exact: Bool[Tensor, " b"]

    @staticmethod
    def none(running: Running) -> "Fading":
        """No old chunk goes on."""
        zero = torch.zeros_like(running.step)
        return Fading(running, zero, zero, zero, zero.bool())

    def begun(
        self, rows: Bool[Tensor, " b"], running: Running, skills: Tensor, lasting: Tensor, exact: Tensor
    ) -> "Fading":
        """The same with the chunks in force of episodes that switch now."""
        return Fading(
            self.running.kept(rows, running),
            torch.where(rows, skills, self.skills),
            torch.where(rows, 0, self.since),
            torch.where(rows, lasting, self.lasting),
            torch.where(rows, exact, self.exact),
        )

    def mixed(
        self, action: Float[Tensor, "b m"], old: Float[Tensor, "b m"], rotations: Sequence[Rotation] = ()
    ) -> Float[Tensor, "b m"]:
        """Actions of the new chunks and of the old ones, with the weights of this step; rotations in their group."""
        share = (self.since + 1) / (self.lasting + 1)
        # of a continued chunk the first steps are the old controllers themselves
        share = torch.where(self.exact, 0.0, share).to(old)
        mixed = old + share[:, None] * (action - old)
        if rotations:
            mixed = mean(torch.stack([old, action]), torch.stack([1 - share, share]), rotations)
        return torch.where((self.since < self.lasting)[:, None], mixed, action)

    def advanced(self) -> "Fading":
        """One control step later."""
        return Fading(self.running.advanced(), self.skills, self.since + 1, self.lasting, self.exact)
