"""Whether following the doctor's advice helps: paired trainings with and without it, flown from the same starts.

    python benchmarks/advice.py [--updates 1200] [--seeds 5] [--starts 100] [--only history idle] [--out table.md]

Six tasks in which something must be brought to a goal and held there: position servos in two and three dimensions, an
unstable mass and a free mass driven by forces, a point driven by velocities, and a pendulum driven by a torque. From
each, scripted demonstrations are recorded, one thing is done to the recording that the doctor finds, and policies are
trained with and without the advice. The score is the share of starts that are solved at the end of the episode.
Differences are paired by seed and starts; their 95 % intervals are Student's over the seeds. `said` tells whether the
inspection of the planted set names the check. The last rows fly what the doctor no longer advises, noise of the size of
the spacing of the demonstrations, on the sets as they are.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from scipy import stats
from torch import Tensor

from holdfast.data import Actions, Preparation, episodes_from_arrays
from holdfast.data.doctor import inspect_episodes
from holdfast.learn import planner_of, prepare, train_variants_to_end
from holdfast.models import Regression
from holdfast.nn import FilmMlp
from holdfast.policy import Execution, Policy, PolicySpec
from holdfast.recipe import Recipe, Training
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation

STEPS, DEMOS, HAND = 60, 50, 0.03
NEAR, SLOW = 0.06, 0.2


@dataclass(frozen=True)
class Task:
    """Dynamics of positions x with velocities v under actions a, and an expert that brings x to the goal."""

    name: str
    kind: str
    dims: int
    dt: float = 0.05
    pull: float = 0.0

    def advance(self, x: Tensor, v: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """Position and velocity one step later."""
        parts = 4
        for _ in range(parts):
            v = v + self.dt / parts * self._acceleration(x, v, a)
            x = x + self.dt / parts * v
        return x, v

    def _acceleration(self, x: Tensor, v: Tensor, a: Tensor) -> Tensor:
        if self.kind == "servo":
            return 40 * (a - x) - 12 * v
        if self.kind == "velocity":
            return 15 * (a - v)
        return self.pull * (x.sin() if self.kind == "pendulum" else x) + a

    def expert(self, x: Tensor, v: Tensor, goal: Tensor) -> Tensor:
        """The demonstrated action, without the noise of the hand."""
        if self.kind == "servo":
            return x + 0.5 * (goal - x)
        if self.kind == "velocity":
            return (2.5 * (goal - x)).clamp(-1, 1)
        held = self.pull * (goal.sin() if self.kind == "pendulum" else goal)
        return 10 * (goal - x) - 6 * v - self.pull * (x - goal) - held

    def starts(self, count: int, *words: object) -> tuple[Tensor, Tensor, Tensor]:
        """Random positions at rest, and goals."""
        rng = stream(0, "advice", self.name, *words)
        x, goal = (2 * torch.rand(count, self.dims, dtype=torch.float64, generator=rng) - 1 for _ in range(2))
        return x, torch.zeros_like(x), goal


TASKS = {
    task.name: task
    for task in (
        Task("arm", "servo", 2),
        Task("arm3", "servo", 3),
        Task("push", "force", 1, pull=2.0),
        Task("mass", "force", 2),
        Task("cart", "velocity", 2),
        Task("pendulum", "pendulum", 1, pull=6.0),
    )
}


@dataclass(frozen=True)
class Recorded:
    """A recording: observations `[episodes, steps, ·]` and actions, and what is told of each episode."""

    seen: list[Tensor]
    actions: list[Tensor]
    told: dict[str, Tensor]

    def episodes(self, dt: float) -> Episodes:
        """The recording as a data set in single precision, as robots record."""
        return episodes_from_arrays(
            [seen.float() for seen in self.seen],
            [actions.float() for actions in self.actions],
            episode_columns=self.told,
            dt=dt,
        )


def recorded(task: Task, *, hand: Callable[[int, int, Tensor], Tensor] | None = None, waits: bool = False) -> Recorded:
    """Demonstrations; `hand(step, episode, goal)` may change what the demonstrator aims at."""
    x, v, goal = task.starts(DEMOS, "demonstrations")
    rng = stream(0, "advice", "hand", task.name)
    idle = torch.randint(15, 31, (DEMOS, 1), generator=rng) if waits else torch.zeros(DEMOS, 1, dtype=torch.int64)
    seen, actions, first = list[Tensor](), list[Tensor](), x.clone()
    for step in range(STEPS + (30 if waits else 0)):
        aim = goal if hand is None else torch.stack([hand(step, e, goal[e]) for e in range(DEMOS)])
        action = task.expert(x, v, aim)
        size = HAND * (10 if task.kind in ("force", "pendulum") else 1)
        action = action + size * torch.randn(action.shape, dtype=action.dtype, generator=rng)
        rest = first if task.kind == "servo" else torch.zeros_like(action)
        action = torch.where(step < idle, rest, action)
        seen.append(torch.cat([x, v, goal], dim=1))
        actions.append(action)
        x, v = task.advance(x, v, action)
    return Recorded(list(torch.stack(seen, dim=1)), list(torch.stack(actions, dim=1)), {})


View = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def whole(x: Tensor, v: Tensor, goal: Tensor, last: Tensor) -> Tensor:
    """Position, velocity and goal."""
    return torch.cat([x, v, goal], dim=1)


def without_velocity(x: Tensor, v: Tensor, goal: Tensor, last: Tensor) -> Tensor:
    """Position and goal."""
    return torch.cat([x, goal], dim=1)


def with_last(x: Tensor, v: Tensor, goal: Tensor, last: Tensor) -> Tensor:
    """Position, velocity, goal and the last action."""
    return torch.cat([x, v, goal, last], dim=1)


@dataclass(frozen=True)
class Arm:
    """Data and settings of one side of a comparison."""

    episodes: Episodes
    view: View = whole
    preparation: Preparation = field(default_factory=Preparation)
    n_obs_steps: int = 1
    sigma: float = 0.0


@dataclass(frozen=True)
class Case:
    """One thing done to the recording of a task, and the advice for it."""

    kind: str
    check: str
    advice: str
    task: Task
    plain: Arm
    advised: Arm


def _late(task: Task, steps: int) -> Case:
    """Observations that are recorded late (steps > 0), or actions (steps < 0)."""
    made, count = recorded(task), abs(steps)
    if steps > 0:
        seen = [torch.cat([s[:1].expand(count, -1), s[:-count]]) for s in made.seen]
        late = replace(made, seen=seen)
    else:
        late = replace(made, actions=[torch.cat([a[:1].expand(count, -1), a[:-count]]) for a in made.actions])
    episodes = late.episodes(task.dt)
    kind = "observation late" if steps > 0 else "action late"
    advised = Arm(episodes, preparation=Preparation(shift_actions=-steps))
    return Case(f"{kind} {count}", "lag", f"--shift-actions {-steps}", task, Arm(episodes), advised)


def _reading(task: Task, steps: int) -> Case:
    """The state as the action; the later one that replaces it is ahead by `steps`, as the command was."""
    made = recorded(task)
    episodes = replace(made, actions=[seen[:, : task.dims] for seen in made.seen]).episodes(task.dt)
    advised = Arm(episodes, preparation=Preparation(shift_actions=steps))
    return Case("action is the state", "reading", f"--shift-actions {steps}", task, Arm(episodes), advised)


def _idle(task: Task) -> Case:
    episodes = recorded(task, waits=True).episodes(task.dt)
    advised = Arm(episodes, preparation=Preparation(drop_idle=("start",)))
    return Case("idle starts", "idle", "--drop-idle start", task, Arm(episodes), advised)


def _failures(task: Task) -> Case:
    failed = torch.arange(DEMOS) % 5 < 2
    made = recorded(task, hand=lambda step, e, goal: -0.5 * goal if failed[e] else goal)
    episodes = replace(made, told={"success": (~failed).long()}).episodes(task.dt)
    advised = Arm(episodes, preparation=Preparation(drop_episodes=("success=0",)))
    return Case("40 % failures", "failures", "--drop-episodes success=0", task, Arm(episodes), advised)


def _operators(task: Task) -> Case:
    """A second operator, who wavers around the goal, records 40 % of the episodes."""
    second = torch.arange(DEMOS) % 5 < 2
    phase = 6.28 * torch.rand(DEMOS, generator=stream(0, "advice", "phase")).double()

    def hand(step: int, e: int, goal: Tensor) -> Tensor:
        return goal + (0.5 * (0.25 * step + phase[e]).sin() if second[e] else 0.0)

    episodes = recorded(task, hand=hand).episodes(task.dt)
    advised = Arm(episodes, preparation=Preparation(weights="quality"))
    return Case("two operators", "", "--weights quality", task, Arm(episodes), advised)


def _history(task: Task) -> Case:
    made = recorded(task)
    n = task.dims
    blind = replace(made, seen=[torch.cat([s[:, :n], s[:, 2 * n :]], dim=1) for s in made.seen]).episodes(task.dt)
    plain = Arm(blind, view=without_velocity)
    return Case("velocity not observed", "history", "--n-obs-steps 2", task, plain, replace(plain, n_obs_steps=2))


def _leak(task: Task) -> Case:
    made = recorded(task)
    last = [torch.cat([torch.zeros_like(a[:1]), a[:-1]]) for a in made.actions]
    seen = [torch.cat([s, past], dim=1) for s, past in zip(made.seen, last, strict=True)]
    plain = Arm(replace(made, seen=seen).episodes(task.dt), view=with_last)
    return Case("last action observed", "leaks", "remove it", task, plain, Arm(made.episodes(task.dt)))


def _offset(task: Task) -> Case:
    made = recorded(task)
    zero = torch.zeros(task.dims, dtype=torch.float64)
    zero[0] = 0.3
    plain = Arm(replace(made, actions=[a + zero for a in made.actions]).episodes(task.dt))
    return Case("leader off by 0.3", "offset", "subtract it", task, plain, Arm(made.episodes(task.dt)))


def _rates(task: Task) -> Case:
    """Two of five episodes are recorded at a third of the rate."""
    made = recorded(task)
    slow = torch.arange(DEMOS) % 5 < 2
    pick = [slice(None, None, 3) if slow[e] else slice(None) for e in range(DEMOS)]
    thinned = replace(
        made,
        seen=[s[p] for s, p in zip(made.seen, pick, strict=True)],
        actions=[a[p] for a, p in zip(made.actions, pick, strict=True)],
        told={"dt": torch.where(slow, 3 * task.dt, task.dt)},
    )
    episodes = thinned.episodes(task.dt)
    numbers = tuple(str(int(e)) for e in slow.nonzero())
    advised = Arm(episodes, preparation=Preparation(drop_episodes=numbers))
    return Case("mixed rates", "rates", "--drop-episodes …", task, Arm(episodes), advised)


def _spacing(task: Task) -> Case:
    """Noise of the size of the distance between demonstrations, which was once advised."""
    plain = Arm(recorded(task).episodes(task.dt))
    found = inspect_episodes(plain.episodes).findings
    spacing = next(float(f.values["median"]) for f in found if f.check == "paths covered")
    advice = f"σ = {spacing:.2g} (withdrawn)"
    return Case("nothing", "", advice, task, plain, replace(plain, sigma=spacing))


CASES: dict[str, tuple[Callable[[Task], Case], tuple[str, ...]]] = {
    "late-observation": (lambda task: _late(task, 2), ("push", "mass", "pendulum")),
    "later-observation": (lambda task: _late(task, 6), ("push", "mass", "pendulum")),
    "late-action": (lambda task: _late(task, -2), ("push", "mass", "cart")),
    "reading-next": (lambda task: _reading(task, 1), ("arm", "arm3")),
    "reading-lag": (lambda task: _reading(task, 6), ("arm", "arm3")),
    "idle": (_idle, ("arm", "arm3", "cart")),
    "failures": (_failures, ("arm", "mass", "cart")),
    "operators": (_operators, ("arm", "push", "mass")),
    "history": (_history, ("push", "mass", "pendulum")),
    "leak": (_leak, ("push", "mass", "arm")),
    "offset": (_offset, ("arm", "arm3")),
    "rates": (_rates, ("arm", "mass", "pendulum")),
    "spacing": (_spacing, ("arm", "arm3", "push", "mass", "cart", "pendulum")),
}


def recipes_of(arm: Arm, options: argparse.Namespace) -> list[Recipe]:
    """A small regression of chunks of four steps, of which one is executed, for each seed."""
    n, m = arm.episodes.states.shape[1], arm.episodes.actions.shape[1]
    policy = PolicySpec(
        n_states=n,
        n_actions=m,
        n_observed=n,
        codec=Actions(),
        model=Regression(network=FilmMlp(widths=(64, 64), bounded=False)),
        n_obs_steps=arm.n_obs_steps,
        horizon=4,
        execution=Execution(n_action_steps=1, sigma_deploy=arm.sigma),
    )
    training = Training(
        steps=options.updates, batch_size=128, warmup_steps=50, sigma_train=arm.sigma, learning_rate=2e-3
    )
    one = Recipe(policy=policy, training=training, preparation=arm.preparation)
    return [replace(one, seed=seed) for seed in range(options.seeds)]


def scores_of(task: Task, arm: Arm, options: argparse.Namespace) -> list[float]:
    """Share of the starts that each seed's policy solves."""
    recipes = recipes_of(arm, options)
    sets = [prepare(recipe, arm.episodes) for recipe in recipes[:1]] * len(recipes)
    trained = train_variants_to_end(recipes, sets)
    planners = [planner_of(r, d, trained.state(i)) for i, (r, d) in enumerate(zip(recipes, sets, strict=True))]
    return [flown(task, arm, Policy(planner, seed=seed), options.starts) for seed, planner in enumerate(planners)]


@torch.no_grad()
def flown(task: Task, arm: Arm, policy: Policy, starts: int) -> float:
    """Share of the starts from which the policy ends at the goal and at rest."""
    x, v, goal = task.starts(starts, "flights")
    last = torch.zeros_like(x)
    policy.reset()
    for _ in range(STEPS):
        seen = arm.view(x, v, goal, last).float()
        last = policy.act(Observation(state=seen), seen).double()
        x, v = task.advance(x, v, last)
        x, v = x.clamp(-50, 50), v.clamp(-50, 50)
    return float(((x - goal).norm(dim=1) < NEAR).logical_and(v.norm(dim=1) < SLOW).double().mean())


def interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """Mean difference and Student's 95 % interval over the seeds."""
    values = torch.tensor(differences, dtype=torch.float64)
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * float(values.std()) / math.sqrt(len(values))
    return float(values.mean()), float(values.mean()) - reach, float(values.mean()) + reach


def row(case: Case, options: argparse.Namespace) -> tuple[str, float, float]:
    """One line of the table, and the interval."""
    found = {finding.check for finding in inspect_episodes(case.plain.episodes).findings}
    said = "–" if not case.check else "yes" if case.check in found else "no"
    plain, advised = (scores_of(case.task, arm, options) for arm in (case.plain, case.advised))
    mean, low, high = interval([b - a for a, b in zip(plain, advised, strict=True)])
    verdict = "raises" if low > 0 else "lowers" if high < 0 else "open"
    numbers = (
        f"{sum(plain) / len(plain):.2f} | {sum(advised) / len(advised):.2f} | {mean:+.2f} [{low:+.2f}, {high:+.2f}]"
    )
    return f"| {case.kind} | {case.task.name} | {said} | {case.advice} | {numbers} | {verdict} |", low, high


def main() -> None:
    """Print one line for each planted set as it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=1200)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--out", type=Path, default=None, help="File of the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["| planted | task | said | advice | without | with | difference | |", "|---|---|---|---|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    for name in options.only:
        make, tasks = CASES[name]
        for task in tasks:
            lines.append(row(make(TASKS[task]), options)[0])
            print(lines[-1], flush=True)
            if options.out:
                options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
