"""Exploration: data that identify the effect of actions on the next state.

A demonstrator's action is a function of the state. From demonstrations alone, `x' = A x + B u` and
`x' = (A + B ∂u/∂x) x` cannot be distinguished, so B is not identified. Noise on the executed actions identifies it.
(Block et al. 2023, arXiv 2305.09619, estimate linearisations along trajectories from such noise.)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import DataError, RecipeError
from ..types import Episodes, PrimitiveControllers, Trajectory
from ._typed import svd
from .systems.base import System
from .transition_sets import Transitions, coordinate_names, nearest, spread_of, transitions


@dataclass(frozen=True)
class Excitation:
    """Variation of the actions that the state does not explain.

    Attributes:
        shares: Residual standard deviation of the standardised actions after a local linear regression on the state,
            per principal direction of the actions in descending order, median over the evaluated states; from 0
            (actions are a function of the state) to 1.
        weakest: Index of the action coordinate with the largest weight in the last direction.
    """

    shares: Float[Tensor, " m"]
    weakest: int


@torch.no_grad()
def explore(
    system: System,
    controllers: PrimitiveControllers,
    initial_states: Float[Tensor, "b n"],
    *,
    sigma: float | Float[Tensor, " m"],
    rng: torch.Generator,
    action_low: Float[Tensor, " m"] | None = None,
    action_high: Float[Tensor, " m"] | None = None,
) -> Episodes:
    """Episodes under primitive controllers with action noise, `u_t = κ_t(x_t) + σ ε_t`; executed actions are recorded.

    Args:
        system: System to simulate.
        controllers: `[b, t]`, one sequence per episode; `PrimitiveControllers.open_loop` replays recorded actions.
        initial_states: Initial state of each episode. Short episodes from demonstrated states stay near them even if
            nothing stabilises the system yet.
        sigma: Standard deviation of the noise, in the units of the actions.
        rng: Random generator for the noise.
        action_low: Lower limit to which actions are clipped before they are executed and recorded. Default: none.
        action_high: Upper limit.

    Raises:
        RecipeError: `sigma` is not positive.
    """
    scale = torch.as_tensor(sigma).to(initial_states)
    if not bool((scale > 0).all()):
        raise RecipeError(f"expected a positive sigma, got {sigma}: without noise the effect of actions is unknown.")
    states, actions = [initial_states], list[Tensor]()
    for step in range(controllers.actions.shape[-2]):
        action = controllers.at(step)(states[-1])
        noise = torch.randn(action.shape, dtype=torch.float64, generator=rng, device=rng.device).to(action)
        noisy = action + scale * noise
        noisy = noisy if action_low is None else noisy.maximum(action_low.to(noisy))
        actions.append(noisy if action_high is None else noisy.minimum(action_high.to(noisy)))
        states.append(system.step(states[-1], actions[-1]))
    path = Trajectory(actions=torch.stack(actions, 1), states=torch.stack(states, 1))
    return Episodes.of(path, dt=system.dt, system=system.name)


def excitation(steps: Transitions, *, places: int = 200) -> Excitation:
    """Variation of the actions among similar states, measured at `places` states among their nearest neighbours.

    In sparse data the curvature of the demonstrator's policy also counts as excitation: a value near 0 shows that B is
    not identified, but a large value does not show that it is.

    Raises:
        DataError: There are too few steps.
    """
    states, actions = ((values - values.mean(0)) / spread_of(values) for values in (steps.states, steps.actions))
    rows, n, m = *states.shape, actions.shape[1]
    count = 3 * (n + 1 + m)
    if rows < count:
        raise DataError(f"expected at least {count} steps to measure the excitation of the actions, got {rows}.")
    chosen = torch.linspace(0, rows - 1, min(places, rows), device=states.device).long()
    index = nearest(states, states[chosen], count)[0]
    near = states[index] - states[chosen, None]
    basis, _, _ = svd(torch.cat([near, torch.ones_like(near[..., :1])], -1))
    left = actions[index] - basis @ (basis.mT @ actions[index])
    _, singular, directions = svd(left / (count - n - 1) ** 0.5)
    # principal directions differ between states: the weakest action is taken where the last share is the median
    middle = int(singular[:, -1].argsort()[len(chosen) // 2])
    return Excitation(singular.median(0).values, int(directions[middle, -1].abs().argmax()))


def check_excitation(steps: Transitions, action_names: tuple[str, ...] = (), *, least: float = 1e-3) -> Excitation:
    """Raise an error if the data do not identify B.

    Args:
        steps: Data.
        action_names: Names of the action coordinates, for the message.
        least: Smallest admissible share of the actions' spread among similar states, in the weakest direction.

    Raises:
        DataError: The share is smaller; the message gives the share and the action.
    """
    found = excitation(steps)
    share = float(found.shares[-1])
    if share < least:
        name = action_names[found.weakest] if found.weakest < len(action_names) else f"action {found.weakest}"
        raise DataError(
            f"actions are (nearly) a function of the state: among similar states {name} varies by {share:.1e} of its "
            f"spread, expected at least {least:g}. The data do not identify the effect of actions. Add "
            "episodes with noise on the executed actions (`holdfast.control.explore`), or lower `least_excitation`."
        )
    return found


def excited_transitions(episodes: Episodes, *, least: float = 1e-3) -> Transitions:
    """Transitions of the episodes, checked by `check_excitation` unless `least` is 0."""
    steps = transitions(episodes)
    if least > 0:
        check_excitation(steps, coordinate_names(episodes)[1], least=least)
    return steps
