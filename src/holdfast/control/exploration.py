"""Exploration: data from which the effect of actions can be told from that of states.

A demonstrator's action is a function of the state. Where it is all that was recorded, `x' = A x + B u` and
`x' = (A + B ∂u/∂x) x` are the same data: B is not identified. Noise on the executed actions tells them apart.
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
from .transition_sets import Transitions, named, nearest, transitions

__all__ = ["Excitation", "check_excitation", "excitation", "excited_transitions", "explore"]


@dataclass(frozen=True)
class Excitation:
    """How far actions differ among like states.

    Attributes:
        shares: For each direction of the actions, strongest first: the standard deviation that is left of standardised
            actions once a local linear function of the state is taken away, median over places; 0 is none, 1 all.
        weakest: The action coordinate that weighs most in the last direction.
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
    """Episodes under primitive controllers with noise on their actions: `u_t = κ_t(x_t) + σ ε_t`, recorded as executed.

    Args:
        system: A simulator (or a robot that looks like one).
        controllers: `[b, t]`, one chunk an episode; `PrimitiveControllers.open_loop` for recorded actions as they are.
        initial_states: Where each episode starts; short episodes from demonstrated states stay near them even where
            nothing stabilises yet.
        sigma: Standard deviation of the noise, in the units of the actions.
        rng: Of the noise.
        action_low: What actions are clipped to, if anything; the clipped action is recorded.
        action_high: The same from above.

    Raises:
        RecipeError: `sigma` is not positive.
    """
    scale = torch.as_tensor(sigma).to(initial_states)
    if not bool((scale > 0).all()):
        raise RecipeError(f"expected a positive sigma, got {sigma}: without noise the effect of actions stays hidden.")
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
    """How far actions differ among like states: at `places` states, among each one's nearest in the data.

    Where the data are sparse, the curvature of a demonstrator's law counts as excitation too: a value near 0 says that
    B cannot be told, a large one not that it can.

    Args:
        steps: The data.
        places: States to look at, evenly spaced in the data.

    Raises:
        DataError: Too few steps to tell.
    """
    states, actions = _standard(steps.states), _standard(steps.actions)
    rows, n, m = *states.shape, actions.shape[1]
    count = 3 * (n + 1 + m)
    if rows < count:
        raise DataError(f"expected at least {count} steps to tell whether actions are excited, got {rows}.")
    chosen = torch.linspace(0, rows - 1, min(places, rows), device=states.device).long()
    index = nearest(states, states[chosen], count)[0]
    near = states[index] - states[chosen, None]
    basis, _, _ = svd(torch.cat([near, torch.ones_like(near[..., :1])], -1))
    left = actions[index] - basis @ (basis.mT @ actions[index])
    _, singular, directions = svd(left / (count - n - 1) ** 0.5)
    # every place has directions of its own: the weakest is named by the place of median weakness
    middle = int(singular[:, -1].argsort()[len(chosen) // 2])
    return Excitation(singular.median(0).values, int(directions[middle, -1].abs().argmax()))


def check_excitation(steps: Transitions, action_names: tuple[str, ...] = (), *, least: float = 1e-3) -> Excitation:
    """Refuse data from which B cannot be told.

    Args:
        steps: The data.
        action_names: For the message.
        least: Share of the actions' spread that must be left among like states, in the weakest direction.

    Raises:
        DataError: Less is left; the message says how much, and in which action.
    """
    found = excitation(steps)
    share = float(found.shares[-1])
    if share < least:
        name = action_names[found.weakest] if found.weakest < len(action_names) else f"action {found.weakest}"
        raise DataError(
            f"actions are (nearly) a function of the state: among like states {name} differs by {share:.1e} of its "
            f"spread, expected at least {least:g}. The effect of actions cannot be told from that of states. Add "
            "episodes with noise on the executed actions (`holdfast.control.explore`), or lower `least_excitation`."
        )
    return found


def excited_transitions(episodes: Episodes, *, least: float = 1e-3) -> Transitions:
    """The steps of a set, checked by `check_excitation`; `least = 0` accepts any.

    Raises:
        DataError: No step has a next state, or the effect of actions cannot be told.
    """
    steps = transitions(episodes)
    if least > 0:
        check_excitation(steps, named(episodes)[1], least=least)
    return steps


def _standard(values: Float[Tensor, "rows d"]) -> Float[Tensor, "rows d"]:
    """Each coordinate divided by its spread; constant ones stay."""
    spread = values.std(0)
    return (values - values.mean(0)) / torch.where(spread > 0, spread, 1)
