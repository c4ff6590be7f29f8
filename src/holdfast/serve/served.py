"""What a server offers: the policy of a run, and what clients must know about it."""

import math
from dataclasses import dataclass
from typing import Any

from ..data import feeds_back, rotations_of
from ..errors import RecipeError
from ..models import Streaming
from ..policy import ChunkExecutor, Coordinates, Ensemble, Plans, Policy, Smoothed, Streamed

PROTOCOL = 1
"""Version of what the metadata and the key `holdfast` of requests mean."""


@dataclass(frozen=True)
class Served:
    """A policy that several sessions use.

    Attributes:
        policy: The policy; its window and its randomness are not used.
        smoothed: Its planner with the noise of deployment, which has no memory.
    """

    policy: Policy
    smoothed: Smoothed

    @staticmethod
    def of(policy: Policy) -> "Served":
        """What a server of this policy offers.

        Raises:
            RecipeError: The policy has a safety filter.
        """
        if policy.spec.execution.filter is not None:
            raise RecipeError(
                "the policy has a safety filter, which needs the state of every step, but a server sends chunks that "
                "its client executes. Serve the policy without a filter, and filter at the robot: "
                "SafetyFilter.nearest(action, state, before)."
            )
        plans = policy.executor.plans
        smoothed = plans.smoothed if isinstance(plans, Streamed) else plans
        assert isinstance(smoothed, Smoothed)
        return Served(policy, smoothed)

    @property
    def together(self) -> bool:
        """Whether the plans of several sessions are rows of one batch, each with its own random numbers."""
        spec = self.policy.spec
        return spec.model.stackable and not spec.execution.stream

    @property
    def has_gains(self) -> bool:
        """Whether plans consist of controllers (ū, x̄, K), not of actions alone."""
        return feeds_back(self.policy.spec.codec)

    @property
    def sends_controllers(self) -> bool:
        """Whether replies hold more than actions within the limits: feedback, or what is averaged before the limits."""
        return self.has_gains or self.policy.spec.execution.ensemble is not None

    @property
    def continuing(self) -> tuple[str, ...]:
        """Ways in which a plan can continue the last one of its session, the most exact one first."""
        model, spec = self.policy.planner.generator, self.policy.spec
        if spec.execution.stream:
            return ()
        known = ("trained", "conditioned") if model.takes_clean_prefix else ("conditioned",)
        guided = ("guided", "guided-no-jacobian") if model.can_be_guided else ()
        return (*(known if model.conditioning == "exact" else ()), *guided)

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the observation's coordinates, if the data name all of them."""
        return None if self.policy.interface is None else self.policy.interface.observation.names

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers of each of LeRobot's keys of an observation."""
        observed = self.policy.spec.n_observed
        own = observed if self.policy.interface is None else self.policy.interface.n_robot
        rest = {"observation.environment_state": observed - own} if own < observed else {}
        return {"observation.state": own, **rest}

    @property
    def horizon(self) -> int:
        """Number of steps of a plan."""
        spec = self.policy.spec
        blocks = spec.model.blocks if spec.execution.stream and isinstance(spec.model, Streaming) else 1
        return spec.horizon // blocks

    @property
    def most_bytes(self) -> int:
        """Size of the largest message that a client has reason to send, with some room [bytes]."""
        spec = self.policy.spec
        step = spec.n_actions + spec.n_states + spec.n_actions * spec.n_states
        numbers = self.longest * (spec.n_observed + spec.n_states) + spec.horizon * (step + 1)
        views = spec.vision.views if spec.vision else ()
        # of any numbers, so that floats in place of bytes are refused in words
        pictures = 8 * self.longest * sum(math.prod(view.shape) for view in views)
        # msgpack writes a number of a plain list with 9 bytes; names take some room
        return 2**16 + 16 * numbers + pictures

    @property
    def longest(self) -> int:
        """Largest number of observations in one request."""
        return max(self.policy.spec.n_obs_steps, self.policy.spec.horizon)

    def executor(self, seed: int) -> ChunkExecutor:
        """Window, randomness and plans of one session."""
        own, options = self.policy.executor, self.policy.spec.execution
        plans: Plans = Streamed(self.smoothed) if options.stream else self.smoothed
        return ChunkExecutor(
            plans,
            n_obs_steps=self.policy.spec.n_obs_steps,
            n_action_steps=own.n_action_steps,
            action_low=own.action_low,
            action_high=own.action_high,
            seed=seed,
            device=own.device,
        )

    def metadata(self, seed: int) -> dict[str, Any]:
        """The first frame of a session: what the policy was trained on, and how its plans are executed.

        Args:
            seed: Random seed of the session.
        """
        policy, spec = self.policy, self.policy.spec
        interface, views = policy.interface, spec.vision.views if spec.vision else ()
        low, high = (None, None) if interface is None else (interface.bounds_low, interface.bounds_high)
        return {
            "server": "holdfast",
            "protocol": PROTOCOL,
            "family": type(spec.model).__name__,
            "observation": {
                **_about(None if interface is None else interface.observation, spec.n_observed),
                "keys": self.sizes,
                "images": {view.camera: list(view.shape) for view in views},
                "depth": {view.camera: list(view.depth) for view in views if view.depth is not None},
            },
            "state": _about(None if interface is None else interface.state, spec.n_states),
            "action": {
                **_about(None if interface is None else interface.action, spec.n_actions),
                "bounds_low": _listed(low),
                "bounds_high": _listed(high),
                "limits_low": _listed(spec.execution.action_low),
                "limits_high": _listed(spec.execution.action_high),
                "rotations": [[one.first, one.form] for one in rotations_of(spec.codec)],
            },
            "instructions": [] if spec.language is None else list(spec.language.instructions),
            "dt": None if interface is None else interface.dt,
            "horizon": self.horizon,
            "n_action_steps": policy.executor.n_action_steps,
            "n_obs_steps": spec.n_obs_steps,
            "controllers": self.has_gains,
            "ensemble": _ensemble(spec.execution.ensemble),
            "continuing": list(self.continuing),
            "prefix_delays": list(policy.planner.prefix_delays),
            "seed": seed,
            "max_message_bytes": self.most_bytes,
        }


def _about(coordinates: Coordinates | None, count: int) -> dict[str, Any]:
    if coordinates is None:
        return {"shape": [count], "names": None, "units": None, "low": None, "high": None}
    return {
        "shape": [count],
        "names": _listed(coordinates.names),
        "units": _listed(coordinates.units),
        "low": list(coordinates.low),
        "high": list(coordinates.high),
    }


def _listed(values: tuple[Any, ...] | None) -> list[Any] | None:
    return None if values is None else list(values)


def _ensemble(ensemble: Ensemble | None) -> dict[str, Any] | None:
    return None if ensemble is None else {"decay": ensemble.decay, "newest_first": ensemble.newest_first}
