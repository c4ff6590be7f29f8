"""Synthesised gains on MuJoCo's dynamics: contraction of errors, and distance of replays to the demonstration.

    python benchmarks/real_dynamics.py --data DATA [--out result.json] [--learned]

DATA is a folder with `mujoco_experts/Hopper_policy.npz` and `mujoco_experts/HalfCheetah_policy.npz`. There are three
tables: norms of products of Jacobians over windows of steps, along demonstrations; the distance of perturbed replays to
their demonstration, with and without feedback, paired; and, with `--learned`, the same replays with gains from dynamics
that were learned from exploration data.

Cost weights were chosen on the demonstrations of `--purpose tuning`; the reported ones are those of another stream.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holdfast.control import (
    Dare,
    Expert,
    MlpExpert,
    MujocoSystem,
    System,
    Tvlqr,
    closed_loop,
    expert_demonstrations,
    explore,
    fit_local_linear,
    fit_mlp,
    linearize,
    mujoco_system,
    one_step_prediction,
    products,
    regulator,
    synthesize,
)
from holdfast.data import concatenate
from holdfast.evaluation import Estimate, crossed
from holdfast.seeding import stream
from holdfast.types import Episodes, PrimitiveControllers, Trajectory

WINDOWS = (10, 20, 50, 100)

# A simulator has no noise, so a little exploration is as informative as a lot.
LEAST = 1e-4


@dataclass(frozen=True)
class Setting:
    """One task: length of demonstrations, synthesis of gains, and perturbations of replays.

    Attributes:
        task: Id in Gymnasium.
        steps: Control steps of a demonstration.
        synthesis: Method and weights of the gains.
        perturbations: Lengths of the initial perturbation, uniform in direction.
        disturbances: Standard deviations of the noise on every action.
        explored_state: Standard deviation of the states that exploration starts from, about demonstrated ones.
        explored_action: Standard deviation of the exploration noise on actions.
    """

    task: str
    steps: int
    synthesis: Tvlqr
    perturbations: tuple[float, ...]
    disturbances: tuple[float, ...]
    explored_state: float = 1e-3
    explored_action: float = 1e-2


def weights(joints: int, *, velocity: float, root: float) -> tuple[float, ...]:
    """Weight 1 on joints, `velocity` on all rates, `root` on the robot's position along the floor."""
    return (root, *[1.0] * (joints - 1), *[velocity] * joints)


SETTINGS = (
    Setting(
        "InvertedDoublePendulum-v4",
        100,
        Tvlqr(1.0, 1.0),
        perturbations=(1e-3, 1e-2, 5e-2),
        disturbances=(1e-3, 1e-2, 5e-2),
    ),
    Setting(
        "Hopper-v4",
        400,
        Tvlqr(weights(6, velocity=0.1, root=1.0), 1.0, terminal="cost"),
        perturbations=(1e-3, 1e-2, 1e-1),
        disturbances=(5e-3, 2e-2, 1e-1),
    ),
    Setting(
        "HalfCheetah-v4",
        200,
        Tvlqr(weights(9, velocity=0.1, root=0.1), 10.0, terminal="cost"),
        perturbations=(1e-3, 1e-2, 5e-2),
        disturbances=(1e-4, 1e-3, 1e-2),
        # its Jacobians change over a millimetre or a few hundredths of an action
        explored_state=1e-4,
        explored_action=1e-3,
    ),
)


def expert_of(system: MujocoSystem, data: Path) -> Expert:
    """The trained network of the task; for the pendulum, the regulator at its upright equilibrium."""
    if system.task.startswith("InvertedDoublePendulum"):
        upright = torch.zeros(system.n_states, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        return regulator(system, *upright, weights=Dare(1.0, 1.0))
    return MlpExpert.load(data / "mujoco_experts" / f"{system.task.split('-')[0]}_policy.npz")


def whole(episodes: Episodes, steps: int) -> Trajectory:
    """Demonstrations that did not end early, `[b, t, ·]`."""
    demos = [episodes.trajectory(index) for index in range(len(episodes))]
    demos = [episode for episode in demos if episode.steps == steps]
    return Trajectory(
        actions=torch.stack([episode.actions for episode in demos]),
        states=torch.stack([episode.states for episode in demos]),
    )


def growth(system: System, demos: Trajectory, gains: Tensor) -> list[dict[str, Any]]:
    """Spectral norms of products of Jacobians, all windows of all demonstrations."""
    along = linearize(system, demos.states[:, :-1], demos.actions)
    rows = list[dict[str, Any]]()
    for name, jacobians in (("open", along.A), ("closed", closed_loop(along.A, along.B, gains))):
        for window in WINDOWS:
            if window <= demos.steps:
                norms = torch.linalg.matrix_norm(products(jacobians, window), 2)
                middle, largest = float(norms.median()), float(norms.max())
                rows.append({"loop": name, "window": window, "median": middle, "max": largest})
    return rows


def distances(system: MujocoSystem, demos: Trajectory, gains: Tensor, start: Tensor, noise: Tensor) -> Tensor:
    """`|x − x̄|` at each step of replays, `[demonstrations, replays, t + 1]`.

    Args:
        system: The task.
        demos: Demonstrations.
        gains: Gains of each step.
        start: Perturbation of the first state, `[demonstrations, replays, n]`.
        noise: Perturbation of every action, `[demonstrations, replays, t, m]`.
    """
    count, replays = start.shape[:2]
    state = (demos.states[:, None, 0] + start).flatten(0, 1)
    laws = PrimitiveControllers(actions=demos.actions, states=demos.states[:, :-1], gains=gains)
    apart = [(state - demos.states[:, 0].repeat_interleave(replays, 0)).norm(dim=-1)]
    for step in range(demos.steps):
        law = laws.at(step)
        spread: Callable[[Tensor], Tensor] = partial(torch.repeat_interleave, repeats=replays, dim=0)
        action = PrimitiveControllers(actions=spread(law.actions), states=spread(law.states), gains=spread(law.gains))(
            state
        )
        state = system.step(state, action + noise[:, :, step].flatten(0, 1))
        apart.append((state - spread(demos.states[:, step + 1])).norm(dim=-1))
    return torch.stack(apart, -1).reshape(count, replays, -1)


def plain(estimate: Estimate) -> list[float]:
    """Mean and ends of its interval."""
    return [estimate.mean, estimate.low, estimate.high]


def compare(free: Tensor, held: Tensor) -> dict[str, Any]:
    """Time-averaged distances and their paired difference, intervals over demonstrations × replays."""
    open_mean, closed_mean = free.mean(-1), held.mean(-1)
    steps = free.shape[-1] - 1
    marks = sorted({steps // 8, steps // 4, steps // 2, steps})
    return {
        "open": plain(crossed(open_mean)),
        "closed": plain(crossed(closed_mean)),
        "difference": plain(crossed(closed_mean - open_mean)),
        "log10_ratio": plain(crossed((closed_mean / open_mean).log10())),
        "closer": float((closed_mean < open_mean).double().mean()),
        "over_time": [
            {"step": mark, "open": plain(crossed(free[..., mark])), "closed": plain(crossed(held[..., mark]))}
            for mark in marks
        ],
    }


def replays(
    setting: Setting, system: MujocoSystem, demos: Trajectory, gains: dict[str, Tensor], count: int
) -> list[dict[str, Any]]:
    """Replays with every perturbation of every kind, with each set of gains and without."""
    demonstrations, steps, m = demos.actions.shape
    rng = stream(0, "real dynamics", setting.task, "perturbations")
    direction = torch.randn(demonstrations, count, system.n_states, generator=rng, dtype=torch.float64)
    direction = direction / direction.norm(dim=-1, keepdim=True)
    noise = torch.randn(demonstrations, count, steps, m, generator=rng, dtype=torch.float64)
    kinds = [("start", size, size * direction, 0 * noise) for size in setting.perturbations]
    kinds += [("actions", size, 0 * direction, size * noise) for size in setting.disturbances]
    rows = list[dict[str, Any]]()
    for kind, size, start, pushed in kinds:
        free = distances(system, demos, torch.zeros_like(next(iter(gains.values()))), start, pushed)
        for source, K in gains.items():
            held = distances(system, demos, K, start, pushed)
            rows.append({"perturbed": kind, "size": size, "gains": source, **compare(free, held)})
    return rows


def explored(setting: Setting, system: MujocoSystem, demos: Trajectory, copies: int, name: str) -> Episodes:
    """Two steps from each demonstrated state, `copies` times, states and actions perturbed."""
    rng = stream(0, "real dynamics", setting.task, name)
    spread = partial(torch.repeat_interleave, repeats=copies, dim=0)
    here, there = (spread(demos.states[:, first : demos.steps - 1 + first].flatten(0, 1)) for first in (0, 1))
    actions = torch.stack(
        [spread(demos.actions[:, first : demos.steps - 1 + first].flatten(0, 1)) for first in (0, 1)], 1
    )
    law = PrimitiveControllers.open_loop(actions, torch.stack([here, there], 1))
    start = here + setting.explored_state * torch.randn(here.shape, generator=rng, dtype=torch.float64)
    bounds = {"action_low": system.action_low, "action_high": system.action_high}
    return explore(system, law, start, sigma=setting.explored_action, rng=rng, **bounds)


def learned(setting: Setting, system: MujocoSystem, demos: Trajectory) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Gains from dynamics learned on demonstrations and exploration data, and the prediction error on other data."""
    data = concatenate(
        [
            Episodes.of(demos, dt=system.dt, system=system.name),
            explored(setting, system, demos, 40, "fit"),
        ]
    )
    fresh = explored(setting, system, demos, 1, "judge")
    truth = linearize(system, demos.states[:, :-1], demos.actions)
    gains, rows = dict[str, Tensor](), dict[str, Any]()
    models = {
        "local": fit_local_linear(data, least_excitation=LEAST),
        "mlp": fit_mlp(data, rng=stream(0, "real dynamics", "mlp"), least_excitation=LEAST),
    }
    for name, model in models.items():
        quality, guess = one_step_prediction(model, fresh), linearize(model, demos.states[:, :-1], demos.actions)
        gains[name] = synthesize(setting.synthesis, model, demos).gains
        wrong = [
            (a - b).flatten(0, 1).flatten(1).norm(dim=-1) / b.flatten(0, 1).flatten(1).norm(dim=-1).clamp(min=1e-9)
            for a, b in ((guess.A, truth.A), (guess.B, truth.B))
        ]
        rows[name] = {
            "r2": quality.r2.tolist(),
            "r2_median": float(quality.r2.median()),
            "error_A": float(wrong[0].median()),
            "error_B": float(wrong[1].median()),
            "radius": [float(quality.radius.median()), float(quality.radius.max())],
            "rows": int(data.lengths.sum()),
        }
    return gains, rows


@dataclass
class Result:
    """Results for one task."""

    task: str
    demonstrations: int
    growth: list[dict[str, Any]] = field(default_factory=list)
    replays: list[dict[str, Any]] = field(default_factory=list)
    learned: dict[str, Any] = field(default_factory=dict)


def measure(setting: Setting, data: Path, *, demonstrations: int, count: int, purpose: str, learn: bool) -> Result:
    """Compute all tables of one task."""
    system = mujoco_system(setting.task)
    rng = stream(0, "real dynamics", setting.task, purpose)
    episodes = expert_demonstrations(system, expert_of(system, data), demonstrations, rng=rng, steps=setting.steps)
    demos = whole(episodes, setting.steps)
    gains = {"true": synthesize(setting.synthesis, system, demos).gains}
    result = Result(setting.task, len(demos.actions))
    result.growth = growth(system, demos, gains["true"])
    if learn:
        found, result.learned = learned(setting, system, demos)
        gains |= found
        for name, K in found.items():
            rows = [row for row in growth(system, demos, K) if row["loop"] == "closed"]
            result.growth += [row | {"loop": f"closed, {name}"} for row in rows]
    result.replays = replays(setting, system, demos, gains, count)
    return result


def show(result: Result) -> None:
    """Print the tables of one task."""
    print(f"\n{result.task}: {result.demonstrations} demonstrations")
    for row in result.growth:
        print(f"  {row['loop']:>14} {row['window']:4d} steps: median {row['median']:9.3g}  max {row['max']:9.3g}")
    for name, row in result.learned.items():
        print(
            f"  learned {name:>6} from {row['rows']} steps: R² {row['r2_median']:.4f} (least {min(row['r2']):.4f}), "
            f"error of A {row['error_A']:.2g}, of B {row['error_B']:.2g}, "
            f"spectral radius {row['radius'][0]:.3g} (most {row['radius'][1]:.3g})"
        )
    for row in result.replays:
        numbers = "  ".join(
            f"{name} {row[name][0]:.3g} [{row[name][1]:.3g}, {row[name][2]:.3g}]"
            for name in ("open", "closed", "difference", "log10_ratio")
        )
        print(f"  {row['perturbed']:>7} {row['size']:6g} {row['gains']:>6}: {numbers}  closer {row['closer']:.0%}")


def main() -> None:
    """Print the tables, and write them if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that contains mujoco_experts/")
    parser.add_argument("--out", type=Path, help="JSON file for the numbers")
    parser.add_argument("--tasks", nargs="*", default=[setting.task for setting in SETTINGS])
    parser.add_argument("--demonstrations", type=int, default=5)
    parser.add_argument("--replays", type=int, default=20, help="replays of each demonstration, for each perturbation")
    parser.add_argument("--purpose", default="reported", help="stream of demonstrations: reported or tuning")
    parser.add_argument("--learned", action="store_true", help="also measure gains from learned dynamics")
    options = parser.parse_args()
    results = list[Result]()
    for setting in SETTINGS:
        if setting.task in options.tasks:
            results.append(
                measure(
                    setting,
                    options.data,
                    demonstrations=options.demonstrations,
                    count=options.replays,
                    purpose=options.purpose,
                    learn=options.learned,
                )
            )
            show(results[-1])
    if options.out is not None:
        options.out.write_text(json.dumps([asdict(result) for result in results], indent=1))


if __name__ == "__main__":
    main()
