"""Episodes flown: a batch of episodes of an environment and a policy, in step, as a set of demonstrations.

    o_t, x_t ──policy──► u_t ──bounds──► environment ──► r_t, o_{t+1}, x_{t+1}

What comes back is the type that a data set holds, so that flown episodes can be written, looked at and learned from.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import RecipeError, ShapeError
from ..policy import PolicySpec
from ..types import Episodes
from .closed_loop import Acts
from .environment import Bounded, Environment, Named, Seen
from .recorder import Tape

__all__ = ["Run", "run"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What came of a batch of episodes.

    Attributes:
        episodes: The steps of each episode until it was over.
        returns: Sum of each episode's rewards.
        best_reward: Largest reward of each episode.
        success: Episodes that were solved; `None` where the environment does not say.
        over: Episodes that ended by themselves: solved, failed or out of time, not cut off by `steps`.
        extra: What the environment measures, as it stood when each episode ended; besides `clipped`, the number of
            steps whose action lay outside the bounds, and `lost`, 1 where the policy or the simulator gave no number.
    """

    episodes: Episodes
    returns: Float[Tensor, " b"]
    best_reward: Float[Tensor, " b"]
    success: Bool[Tensor, " b"] | None
    over: Bool[Tensor, " b"]
    extra: Mapping[str, Float[Tensor, " b"]] = field(default_factory=lambda: dict[str, Tensor]())


@torch.no_grad()
def run(
    environment: Environment,
    policy: Acts,
    *,
    seeds: Sequence[int],
    seed: int = 0,
    steps: int | None = None,
    pictures: bool = False,
    on_step: Callable[[int], None] = lambda step: None,
) -> Run:
    """Run a policy on one episode a seed, all in step, until each is over.

    Actions outside the environment's bounds are brought to them, and counted. An episode for which the policy or the
    simulator gives NaN is over and failed: it stands still where it was, its last row holds an action of 0 (within
    the bounds) and no reward, and the others fly on.

    Args:
        environment: Where to run it.
        policy: Reset with `seed`, then asked for one action of every episode a step.
        seeds: Of the episodes.
        seed: Of the policy's own randomness.
        steps: Control steps at most; the environment's own time limit if nothing is said.
        pictures: Keep what the cameras saw; 300 steps of 96 × 96 pixels are 8 MB an episode.
        on_step: Called with the number of steps done.

    Raises:
        ShapeError: The policy was made for other observations, states or actions than the environment's.
        RecipeError: No seeds, or no steps.
    """
    limit = environment.steps if steps is None else steps
    if not seeds or limit < 1:
        raise RecipeError(f"expected at least one episode and one step, got {len(seeds)} seeds and {limit} steps.")
    seen = environment.reset(seeds)
    _check_fit(policy, environment, seen)
    policy.reset(seed)
    bounds, tape = _bounds(environment), Tape(len(seeds), pictures=pictures)
    for step in range(limit):
        asked = _ask(policy, environment, seen)
        action = asked.clamp(*(bound.to(asked) for bound in bounds))
        # NaN survives the bounds, and so does infinity where there are none
        lost = ~action.isfinite().all(dim=-1)
        action = torch.where(lost[:, None], torch.zeros_like(action).clamp(*bounds), action)
        brought = environment.step(action)
        seen = tape.add(seen, action, brought, lost=lost, clipped=(asked != action).any(dim=-1))
        on_step(step + 1)
        if bool(tape.over.all()):
            break
    return _run_of(tape, environment)


def _run_of(tape: Tape, environment: Environment) -> Run:
    names = environment.names if isinstance(environment, Named) else dict[str, tuple[str, ...]]()
    return Run(
        episodes=tape.episodes(dt=environment.dt, system=environment.name, names=names),
        returns=tape.returns,
        best_reward=tape.best_reward,
        success=tape.success,
        over=tape.over,
        extra=tape.extra,
    )


def _bounds(environment: Environment) -> tuple[Tensor, Tensor]:
    if isinstance(environment, Bounded):
        low, high = environment.action_bounds
        return low.double(), high.double()
    bound = torch.full((environment.n_actions,), torch.inf, dtype=torch.float64)
    return -bound, bound


def _ask(policy: Acts, environment: Environment, seen: Seen) -> Float[Tensor, "b m"]:
    """The policy's actions on the CPU, in double precision, as the simulators count."""
    action = policy.act(seen.observation, seen.state)
    wanted = (len(seen.state), environment.n_actions)
    if tuple(action.shape) != wanted:
        raise ShapeError(
            f"{environment.name} takes actions of shape {wanted}, one row an episode, but the policy gave "
            f"{tuple(action.shape)}. Run it where its data came from."
        )
    return action.to("cpu", torch.float64)


def _check_fit(policy: Acts, environment: Environment, seen: Seen) -> None:
    """Refuse a policy that says what it was made for, where the environment is another, before the first step."""
    spec = getattr(policy, "spec", None)
    if not isinstance(spec, PolicySpec):
        return
    observation = seen.observation
    parts = {"state": observation.state, "environment_state": observation.environment_state}
    shown = ", ".join(f"{name} {values.shape[-1]}" for name, values in parts.items() if values is not None)
    for quantity, learned, here in (
        (f"observations ({shown})", spec.n_observed, observation.vector.shape[-1]),
        ("states for feedback", spec.n_states, seen.state.shape[-1]),
        ("actions", spec.n_actions, environment.n_actions),
    ):
        if learned != here:
            raise ShapeError(
                f"{environment.name} has {quantity} of {here} numbers, but the policy was trained on {learned}. "
                f"{_elsewhere(environment, quantity)}"
            )


def _elsewhere(environment: Environment, quantity: str) -> str:
    """Where a policy of another shape belongs; what is recorded of MuJoCo often holds observations for states."""
    kind, _, registered = environment.name.partition(":")
    if kind == "mujoco" and quantity.startswith("states"):
        return f"Where the states of its data were observations, run it in gym:{registered}."
    return "Run it in the environment that its data came from, or train on data of this one."
