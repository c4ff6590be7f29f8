"""Closed loops: a policy and a batch of episodes of an environment, stepped together.

    o_t, x_t ──policy──► u_t ──(delay, intervention, bounds)──► environment ──► r_t, o_{t+1}, x_{t+1} (+ w_t)

The disturbance w is an argument, so that two rollouts can share it.
"""

from collections.abc import Callable
from dataclasses import replace
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import InterfaceError, RecipeError, ShapeError
from ..policy import Filtered, PolicySpec, episodes_may_be_lost
from ..policy.seen_pictures import check_pictures
from .actors import Actor, Delayed, Intervene, taken_over
from .contract import Fit, fit_of, refuse, warn_of
from .drawn_depth import depth_ranges_of
from .environment import Environment, Starts, Step
from .foreign import as_actor
from .foreign_environments import as_environment
from .recorder import Recorder
from .rollouts import Rollout

_MEMBERS = (
    *("name", "dt", "steps", "n_actions", "names", "units", "action_bounds", "n_modes", "fixed_length", "restorable"),
    *("reset", "step", "get_state", "set_state", "render", "close"),
)


@torch.no_grad()
def rollout(
    policy: Actor | Any,
    environment: Environment | Any,
    *,
    starts: Starts,
    seed: int = 0,
    steps: int | None = None,
    disturbance: Float[Tensor, "b t s"] | None = None,
    action_delay: int = 0,
    intervene: Intervene | None = None,
    images: bool = False,
    on_step: Callable[[int], None] = lambda step: None,
) -> Rollout:
    """Run a policy on a batch of episodes until all are over.

    Coordinates that both the policy and the environment name are put in the policy's order, in which the observations
    are recorded; states and actions are recorded in the environment's. What else differs from the policy's training is
    warned of, and kept as `mismatches`.

    Actions outside the environment's bounds are clipped, and counted. An episode for which the policy or the simulator
    returns a value that is not finite is lost: it stays where it was, and the others continue.

    Args:
        policy: Reset with `seed`, then asked for one action per episode and step: a Holdfast policy, any object with
            `reset` and `act`, or a policy of another library (`foreign_kinds`).
        environment: Environment to run it in, a gymnasium environment, or a function that makes one.
        starts: One seed per episode, or initial simulator states `[b, n]`.
        seed: Random seed of the policy.
        steps: Largest number of control steps. Default: the environment's time limit.
        disturbance: Added to the simulator state after each step; needs a restorable environment.
        action_delay: Control steps between choosing an action and executing it; the first is held until then.
        intervene: Function that chooses at each step who acts; see `Intervention`.
        images: Keep camera images; 300 steps of 96 × 96 pixels take 8 MB per episode.
        on_step: Called with the number of control steps done.

    Raises:
        InterfaceError: The policy was trained on coordinates of other names or units.
        ShapeError: The policy was trained for other observations, states or actions than the environment's, or the
            disturbance or an intervention has another shape.
        RecipeError: No episodes or no steps, a disturbance in an environment whose state cannot be set, or a policy
            whose episodes share a memory.
    """
    environment = as_environment(environment, len(starts))
    _check_environment(environment)
    limit = environment.steps if steps is None else steps
    if not len(starts) or limit < 1 or action_delay < 0:
        raise RecipeError(
            f"expected at least one episode and one step, and a delay of 0 or more, got {len(starts)} starts, {limit} "
            f"steps and a delay of {action_delay}."
        )
    _check_starts(starts)
    now = environment.reset(starts)
    policy = as_actor(policy, environment, now)
    check_fit(policy, environment, now)
    fit = fit_of(policy, environment, now)
    warn_of(fit)
    if disturbance is not None:
        _check_disturbance(disturbance, environment, (len(starts), limit))
    actor = Delayed(policy, action_delay) if action_delay else policy
    actor.reset(seed)
    recorder = Recorder(fit.ordered(now), images=images)
    for index in range(limit):
        chosen = _ask(actor, environment, recorder.now, fit)
        other = intervene(index, recorder.now, chosen) if intervene else None
        if other is not None:
            chosen = taken_over(chosen, other)
        action, clipped, lost = within_bounds(chosen, environment)
        following = environment.step(action)
        if disturbance is not None:
            moved = environment.set_state(environment.get_state() + disturbance[:, index])
            following = replace(moved, reward=following.reward)
        recorder.add(
            action,
            fit.ordered(following),
            lost=lost,
            clipped=clipped,
            actor=None if other is None else other.actor,
            filtered=filtered_by(policy),
        )
        on_step(index + 1)
        if bool((recorder.over | recorder.lost).all()):
            break
    recorded = recorder.rollout(environment, steps=min(limit, environment.steps) if environment.fixed_length else None)
    return replace(recorded, names=fit.names_of(recorded.names), mismatches=fit.mismatches)


def filtered_by(policy: object) -> tuple[Bool[Tensor, " b"], Bool[Tensor, " b"]] | None:
    """Episodes whose last action the policy's safety filter changed, and those where no action kept all constraints."""
    found = getattr(policy, "filtered", None)
    if not isinstance(found, Filtered) or found.active is None or found.infeasible is None:
        return None
    return found.active, found.infeasible


def check_fit(policy: Actor, environment: Environment, first: Step) -> None:
    """Refuse a policy that was trained for another environment, before the first step.

    Raises:
        RecipeError: The object is not a policy.
        ShapeError: Observations, feedback states or actions have other sizes than in training.
        InterfaceError: They have other names or units than in training.
    """
    if not isinstance(policy, Actor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RecipeError(
            f"expected a policy with reset(seed) and act(observation, state), got {type(policy).__name__}. Wrap a "
            "function in holdfast.PlainPolicy, or load a run folder with holdfast.load."
        )
    spec = getattr(policy, "spec", None)
    fit = fit_of(policy, environment, first)
    if isinstance(spec, PolicySpec):
        # pictures first: without the camera, other sizes say nothing about the cause
        _check_pictures(spec, fit.ordered(first), environment)
        _check_sizes(spec, fit, environment, first)
        check_pictures(fit.ordered(first).observation, spec.vision)
    refuse(fit)


def _check_pictures(spec: PolicySpec, first: Step, environment: Environment) -> None:
    """Refuse an environment without the pictures that a policy sees, or with pictures of other sizes."""
    shown = first.observation.images
    vision = spec.vision
    if vision is None:
        return
    if missing := [name for name in vision.cameras if name not in shown]:
        raise InterfaceError(
            f"the policy sees pictures of the cameras {', '.join(vision.cameras)}, but {environment.name} does not "
            f"show {', '.join(missing)}; it shows {', '.join(shown) or 'no pictures'}. Run it in an environment with "
            "pictures (pusht-pixels, or gym:<id> with pictures among its observations), or give one of your own whose "
            "observations have images of these names."
        )
    for view in vision.views:
        if (found := tuple(shown[view.camera].shape[-3:])) != view.shape:
            raise ShapeError(
                f"{environment.name} shows pictures of shape {list(found)} (height, width, channels) of camera "
                f"{view.camera!r}, but the policy was trained on {list(view.shape)}. "
                f"{_way_out(environment, 'pictures')}"
            )
    _check_ranges(spec, environment)


def _check_ranges(spec: PolicySpec, environment: Environment) -> None:
    """Refuse measurements that became bytes with another range than in training, or with none."""
    stated = depth_ranges_of(environment)
    for view in spec.vision.views if spec.vision else ():
        given = stated.get(view.camera)
        if given is None or (view.depth is not None and tuple(view.depth) == given):
            continue
        trained = "bytes" if view.depth is None else f"measurements from {view.depth[0]:g} to {view.depth[1]:g}"
        raise InterfaceError(
            f"{environment.name} shows measurements from {given[0]:g} to {given[1]:g} of camera {view.camera}, but the "
            f"policy was trained on {trained}. Make the environment with cameras=cameras_of(policy)."
        )


def _check_sizes(spec: PolicySpec, fit: Fit, environment: Environment, first: Step) -> None:
    """Refuse other numbers of coordinates than in training."""
    observation = first.observation
    parts = {"state": observation.state, "environment_state": observation.environment_state}
    sizes = ", ".join(f"{name} {values.shape[-1]}" for name, values in parts.items() if values is not None)
    for quantity, trained, here in (
        (f"observations ({sizes})", spec.n_observed, fit.ordered(first).observation.vector.shape[-1]),
        ("states for feedback", spec.n_states, fit.fed_back(first.state).shape[-1]),
        ("actions", spec.n_actions, environment.n_actions),
    ):
        if trained != here:
            raise ShapeError(
                f"{environment.name} has {quantity} of {here} numbers, but the policy was trained on {trained}. "
                f"{_way_out(environment, quantity)}"
            )


def _check_environment(environment: Environment) -> None:
    """Refuse objects that are not environments, naming what they lack."""
    missing = [name for name in _MEMBERS if not hasattr(environment, name)]
    if not missing:
        return
    kind = type(environment).__name__
    raise RecipeError(
        f"{kind} is not an environment: it does not define {', '.join(missing)}. Subclass holdfast.Environment, which "
        "has defaults for all but name, dt, steps, n_actions, reset and step."
    )


def _check_starts(starts: Starts) -> None:
    """Refuse starts that are neither whole-number seeds nor finite states."""
    if isinstance(starts, Tensor):
        good = starts.dim() == 2 and bool(starts.isfinite().all()) if starts.is_floating_point() else starts.dim() == 1
    else:
        good = all(isinstance(seed, Integral) for seed in starts)
    if not good:
        raise RecipeError(
            f"expected starts as whole-number seeds, or as a tensor of finite simulator states [episodes, "
            f"coordinates], got {starts!r:.80}."
        )


def _check_disturbance(disturbance: Tensor, environment: Environment, sizes: tuple[int, int]) -> None:
    """Refuse a disturbance that does not fit the episodes, their steps and the simulator state, or is not finite."""
    # an environment without a state that can be set says so itself
    expected = (*sizes, environment.get_state().shape[-1])
    shape = tuple(disturbance.shape)
    if len(shape) != 3 or shape[0] != expected[0] or shape[1] < expected[1] or shape[2] != expected[2]:
        raise ShapeError(f"expected a disturbance of shape {expected} (episodes, steps, simulator state), got {shape}.")
    if not bool(disturbance.isfinite().all()):
        raise RecipeError("expected a disturbance of finite numbers, got NaN or infinity in it.")


def _way_out(environment: Environment, quantity: str) -> str:
    """Where a policy of another shape belongs; MuJoCo recordings often hold observations in place of states."""
    kind, _, registered = environment.name.partition(":")
    if kind == "mujoco" and quantity.startswith("states"):
        return f"If the states of its data were observations, run it in gym:{registered}."
    return "Run it in the environment that its data came from, or train on data of this one."


def _ask(policy: Actor, environment: Environment, now: Step, fit: Fit) -> Float[Tensor, "b m"]:
    """The policy's actions, in the order, the precision and on the device of the environment's."""
    # copies: a policy that writes into its observation must not reach the simulator or the record
    with episodes_may_be_lost():
        action = policy.act(now.observation.map(torch.clone), fit.fed_back(now.state).clone())
    expected = (len(now.state), environment.n_actions)
    if tuple(action.shape) != expected:
        raise ShapeError(
            f"{environment.name} takes actions of shape {expected}, one row per episode, but the policy returned "
            f"{tuple(action.shape)}. Run it in the environment that its data came from."
        )
    return fit.executed(action.to(now.state))


def within_bounds(
    action: Float[Tensor, "b m"], environment: Environment
) -> tuple[Float[Tensor, "b m"], Bool[Tensor, " b"], Bool[Tensor, " b"]]:
    """Finite actions within the bounds, the episodes whose action was clipped, and those without a finite action."""
    low, high = environment.action_bounds or (torch.tensor(-torch.inf), torch.tensor(torch.inf))
    low, high = low.to(action), high.to(action)
    within = action.clamp(low, high)
    # NaN survives the clamp, and so does infinity where there is no bound
    lost = ~within.isfinite().all(dim=-1)
    zero = torch.zeros_like(within).clamp(low, high)
    return torch.where(lost[:, None], zero, within), (within != action).any(dim=-1), lost
