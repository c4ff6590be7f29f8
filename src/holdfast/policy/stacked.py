"""Several policies as one: every network call is one batched product for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import RecipeError
from ..models import ChunkModel, stacked_model
from ..seeding import Streams, stream
from ..types import Observation, Prefix, PrimitiveControllers
from .execute import ChunkExecutor
from .pretrained import Policy
from .smoothing import Smoothed


class StackedPolicies:
    """Policies of one architecture that share a batch `[v · b]`: the first b rows are those of the first policy, etc.

    Each draws from its own random stream and acts as it would alone with its seed, up to the order of sums. Weights,
    scales and deployment noise may differ.

    Raises:
        RecipeError: The policies differ in more, or keep plans (streaming, ensembles).
    """

    def __init__(self, policies: Sequence[Policy], *, seeds: Sequence[int]) -> None:
        if not policies or len(policies) != len(seeds):
            raise RecipeError(f"expected a seed for each policy, got {len(policies)} policies and {len(seeds)} seeds.")
        self.seeds = tuple(seeds)
        parts = [_smoothed(policy, policies[0]) for policy in policies]
        first = policies[0].executor
        self.plans = _Plans(parts, stacked_model([part.planner.model for part in parts]))
        self.executor = ChunkExecutor(
            self.plans,
            n_obs_steps=policies[0].spec.n_obs_steps,
            n_action_steps=first.n_action_steps,
            action_low=first.action_low,
            action_high=first.action_high,
            device=first.device,
        )
        self.reset(0)

    def reset(self, seed: int | None = None) -> None:
        """Start new episodes; any seed restarts each policy's randomness from its own seed, `None` continues it."""
        self.executor.reset()
        if seed is not None:
            self.executor.rng = Streams.of([stream(one, "policy", device=self.executor.device) for one in self.seeds])

    def act(self, observation: Observation, state: Float[Tensor, "b n"]) -> Float[Tensor, "b m"]:
        """Actions of all episodes of all policies."""
        return self.executor.act(observation, state)


@dataclass(frozen=True)
class _Plans:
    parts: Sequence[Smoothed]
    model: ChunkModel

    def plan(self, window: Observation, *, rng: torch.Generator, prefix: Prefix | None = None) -> PrimitiveControllers:
        """Composite actions `[v · b, h]`."""
        assert isinstance(rng, Streams)
        rows = len(window.state) // len(self.parts)
        inputs = [
            part.planner.model_input(part.noised(window.at(slice(index * rows, (index + 1) * rows)), rng=one))
            for index, (part, one) in enumerate(zip(self.parts, rng.each, strict=True))
        ]
        code = self.model.sample(Observation.concatenate(inputs), rng=rng, prefix=prefix)
        codes, like = code.chunk(len(self.parts)), window.vector
        chunks = [part.planner.controllers(code, like=like) for part, code in zip(self.parts, codes, strict=True)]
        return PrimitiveControllers(
            actions=torch.cat([chunk.actions for chunk in chunks]),
            states=torch.cat([chunk.states for chunk in chunks]),
            gains=torch.cat([chunk.gains for chunk in chunks]),
        )


def _smoothed(policy: Policy, first: Policy) -> Smoothed:
    """Planner of a policy, if the policy can be stacked with the first."""
    plans, own = policy.executor.plans, policy.spec.execution
    if not isinstance(plans, Smoothed) or own.ensemble is not None or own.filter is not None:
        raise RecipeError(
            "policies that keep plans (stream, ensemble) or filter actions cannot be stacked. Run them one by one."
        )
    quiet = replace(own, sigma_deploy=0.0)
    if quiet != replace(first.spec.execution, sigma_deploy=0.0) or policy.spec.n_obs_steps != first.spec.n_obs_steps:
        raise RecipeError(
            "stacked policies must have the same execution settings, except sigma_deploy: expected "
            f"{first.spec.execution}, got {own}. Run those that differ separately."
        )
    return plans
