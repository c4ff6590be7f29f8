"""Course of an episode under delay: which plans were asked for, when each arrives, and which one runs.

    step            0    1    2    3    4    5    6    7    8
    asked for       A              B              C               every n_action_steps = 3 steps, from the newest
    arrives         A                   B              C          observation; delay d = 1
    runs            A₀   A₁   A₂   A₃   B₁   B₂   B₃   C₁   …     the index counts from the step of the observation

A `Course` is a value and its methods return the next one, so that a simulation with a stated delay and a control loop
with a clock take the same steps. The rows are episodes stepped together, each with delays of its own.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...types import PrimitiveControllers
from .delays import remembered

NEVER = 2**62
"""Step at which a plan arrives that was not asked for."""


@dataclass(frozen=True)
class Plan:
    """A plan for a batch of episodes.

    Attributes:
        chunk: Composite actions.
        begins: Control step to which the first controller of each chunk belongs.
        arrives: First control step at which each plan can run.
    """

    chunk: PrimitiveControllers
    begins: Int[Tensor, " b"]
    arrives: Int[Tensor, " b"]

    @property
    def horizon(self) -> int:
        """Number of steps of a chunk."""
        return self.chunk.actions.shape[1]

    def at(self, step: int, *, last: int) -> PrimitiveControllers:
        """The controllers of a control step; beyond the end of a chunk, its controller number `last`."""
        index = (step - self.begins).clamp(0, last)
        rows = torch.arange(len(index))
        chunk = self.chunk
        return PrimitiveControllers(
            actions=chunk.actions[rows, index], states=chunk.states[rows, index], gains=chunk.gains[rows, index]
        )

    def rest(self, step: int) -> PrimitiveControllers:
        """The chunks from a control step on, the last controller repeated to the horizon."""
        index = (step - self.begins)[:, None] + torch.arange(self.horizon)
        index = index.clamp(0, self.horizon - 1)
        rows = torch.arange(len(index))[:, None]
        chunk = self.chunk
        return PrimitiveControllers(
            actions=chunk.actions[rows, index], states=chunk.states[rows, index], gains=chunk.gains[rows, index]
        )

    def left(self, step: int) -> Int[Tensor, " b"]:
        """Number of controllers from a control step on."""
        return (self.begins + self.horizon - step).clamp(0, self.horizon)


@dataclass(frozen=True)
class Course:
    """What was asked for and what runs, at one control step.

    Attributes:
        step: Control step, counted from the start of the episode.
        plans: Plans asked for, oldest first.
        asked: Control step of each episode's last question; −1 before the first.
        recent: The last delays of each episode.
    """

    step: int
    plans: tuple[Plan, ...]
    asked: Int[Tensor, " b"]
    recent: Int[Tensor, "b d"]

    @staticmethod
    def start(episodes: int, expected: int) -> "Course":
        """The course before the first step, with the delay that is expected before any was measured."""
        asked = torch.full((episodes,), -1)
        return Course(step=0, plans=(), asked=asked, recent=torch.full((episodes, 1), expected))

    def due(self, n_action_steps: int, *, waits: bool) -> Bool[Tensor, " b"]:
        """Episodes that ask for a plan now.

        Args:
            n_action_steps: Steps between two questions, or, for robots that wait, executed steps of a plan.
            waits: Whether the robot waits for a plan, and asks only when the last one was executed.
        """
        if not self.plans:
            return torch.ones_like(self.asked, dtype=torch.bool)
        if not waits:
            return self.step - self.asked >= n_action_steps
        begins, pending = self._since(), self.arrives_last() > self.step
        return (self.step - begins >= n_action_steps) & ~pending

    def asks(
        self,
        rows: Bool[Tensor, " b"],
        chunk: PrimitiveControllers,
        *,
        begins: Int[Tensor, " b"],
        arrives: Int[Tensor, " b"],
        delay: Int[Tensor, " b"],
    ) -> "Course":
        """The course after a plan was asked for in some episodes.

        Args:
            rows: Episodes that asked.
            chunk: Their plans, and anything for the others.
            begins: Control step of each plan's first controller.
            arrives: First control step at which each plan can run.
            delay: Delay of each plan, from which the next ones are forecast.
        """
        first = not self.plans
        recent = remembered(self.recent, torch.where(rows, delay, self.recent[:, -1]))
        return replace(
            self,
            plans=(*self.plans, Plan(chunk=chunk, begins=begins, arrives=torch.where(rows, arrives, NEVER))),
            asked=torch.where(rows, self.step, self.asked),
            # before the first plan nothing is executed: it says nothing about the delay
            recent=self.recent if first else recent,
        )

    def running(self) -> tuple[Int[Tensor, " b"], tuple[Plan, ...]]:
        """The index, among the plans, of the newest one of each episode that has arrived."""
        index = torch.zeros_like(self.asked)
        for number, plan in enumerate(self.plans):
            index = torch.where(plan.arrives <= self.step, number, index)
        return index, self.plans

    def arrives_last(self) -> Int[Tensor, " b"]:
        """Control step at which the last plan asked for in each episode arrives."""
        last = torch.full_like(self.asked, -1)
        for plan in self.plans:
            last = torch.where(plan.arrives < NEVER, plan.arrives, last)
        return last

    def controllers(self, *, last: int) -> PrimitiveControllers:
        """The controllers `[b]` of this step, of the newest plan of each episode that has arrived."""
        index, plans = self.running()
        return chosen([plan.at(self.step, last=last) for plan in plans], index)

    def rest(self) -> tuple[PrimitiveControllers, Int[Tensor, " b"]]:
        """What would run from this step on if no plan arrived, and how many of its steps are planned."""
        index, plans = self.running()
        left = torch.stack([plan.left(self.step) for plan in plans])
        return chosen([plan.rest(self.step) for plan in plans], index), left.gather(0, index[None])[0]

    def phase(self, horizon: int) -> Float[Tensor, " b"]:
        """Index of the step of each running plan, over the horizon."""
        return (self.step - self._since()).clamp(0, horizon - 1) / horizon

    def advanced(self) -> "Course":
        """The course one control step later, without the plans that no episode can need."""
        index, _ = self.running()
        oldest = int(index.min())
        alive = [
            plan
            for number, plan in enumerate(self.plans)
            if number >= oldest or bool((plan.begins + plan.horizon > self.step + 1).any())
        ]
        return replace(self, step=self.step + 1, plans=tuple(alive))

    def _since(self) -> Int[Tensor, " b"]:
        """Control step at which each episode's running plan began."""
        index, plans = self.running()
        return torch.stack([plan.begins for plan in plans]).gather(0, index[None])[0]


def chosen(options: list[PrimitiveControllers], index: Int[Tensor, " b"]) -> PrimitiveControllers:
    """For each row, the controllers of one of several options."""
    if len(options) == 1:
        return options[0]
    rows = torch.arange(len(index))
    return PrimitiveControllers(
        actions=torch.stack([one.actions for one in options])[index, rows],
        states=torch.stack([one.states for one in options])[index, rows],
        gains=torch.stack([one.gains for one in options])[index, rows],
    )
