"""Trainings of study skills and their rollouts.

    low       observation ──► forces
    middle    observation ──► way-points, which a PD cascade tracks
    high      observation ──► selector ──► one of three skills ──► forces

All arms have the same family, network, demonstrations and number of updates. Those of the arm high are divided: three
tenths for each skill, which is trained on the segments with its label, and one tenth for the selector. The arm high is
also run with one part replaced by a perfect one, so that its failures are attributed:

    high, perfect selector    learned skills, chosen in every step by the true stage of the task
    high, perfect skills      the expert's skills, chosen by the cloned selector
    high, naive switch        as high, but the next skill's chunk is executed at once
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from time import perf_counter
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from ...data import Actions, Codec, Preparation, Waypoints
from ...envs import FIRST_UNTOUCHED_SEED, Rollout, rollout
from ...envs.courier import FORCE, NAMES, SKILLS, CourierEnvironment, courier_demonstrations, courier_force, stage_of
from ...evaluation.switches import switch_jumps
from ...learn import SelectorRecipe, confusion_of, fit_selector, planner_of, prepare, train_to_end
from ...models import Regression
from ...nn import FilmMlp
from ...policy import Execution, Policy, PolicySpec
from ...policy.skills import Handover, LearnedEnd, ScriptedSkill, Selector, Skill, SkillLibrary, SkillPolicy
from ...recipe import Recipe, Training
from ...seeding import stream
from ...types import Episodes
from ..engine.jobs import key_of

Level: TypeAlias = Literal["low", "middle", "high"]
LEVELS: tuple[Level, ...] = ("low", "middle", "high")
EVERY = 5
"""Control steps between two decisions of the selector."""
HELD_OUT = 100
"""Number of further demonstrations, on which the selector is judged."""
STIFFNESS, DAMPING = 9.0, 6.0
"""Gains of the cascade of the arm middle [N/m, N s/m]: critically damped for 1 kg."""


@dataclass(frozen=True)
class SkillsJob:
    """One seed of one level.

    Attributes:
        level: Level of the actions.
        seed: Seed of the demonstrations and of the training.
        demos: Number of demonstrations.
        updates: Number of updates of all trainings together.
        starts: Number of starts.
    """

    level: Level
    seed: int
    demos: int
    updates: int
    starts: int

    @property
    def key(self) -> str:
        return key_of(f"{self.level}-seed{self.seed}", self, FIRST_UNTOUCHED_SEED)


@dataclass(frozen=True)
class Cell:
    """Episodes of one policy.

    Attributes:
        arm: Level, with what was replaced.
        success: 1 for each solved episode, otherwise 0.
        stage: Number of parts done in each episode, 0 to 3.
        jump: Mean jump of the force at switches, in each episode [N]; `None` where there were none.
        elsewhere: Mean change of the force in other steps [N].
        confusion: Steps of held-out demonstrations: one row for each label, one column for each chosen skill.
        train_seconds: Duration of all trainings behind the policy [s].
    """

    arm: str
    success: list[float]
    stage: list[float]
    jump: list[float | None]
    elsewhere: float
    confusion: list[list[int]] | None
    train_seconds: float


def work(job: SkillsJob) -> list[dict[str, Any]]:
    """All cells of a job, as plain values."""
    return [asdict(cell) for cell in (_skills(job) if job.level == "high" else _whole(job))]


def recipes_of(job: SkillsJob) -> dict[str, Recipe]:
    """Recipes of the trainings of a job, apart from the selector."""
    if job.level != "high":
        return {job.level: recipe_of(job, job.updates)}
    each = max(1, 3 * job.updates // 10)
    whole = recipe_of(job, each)
    return {name: replace(whole, preparation=Preparation(segments=f"skill={name}")) for name in SKILLS}


def recipe_of(job: SkillsJob, updates: int) -> Recipe:
    """The recipe that all trainings share but for the codec and the number of updates."""
    codec: Codec = Actions()
    if job.level == "middle":
        stiffness, damping = (STIFFNESS, STIFFNESS), (DAMPING, DAMPING)
        codec = Waypoints(positions=(0, 1), velocities=(2, 3), stiffness=stiffness, damping=damping)
    network = FilmMlp(widths=(256, 256, 256), activation="mish", linear_skip=True, bounded=False)
    limit = (FORCE, FORCE)
    spec = PolicySpec(
        n_states=len(NAMES["state"]),
        n_actions=len(NAMES["action"]),
        n_observed=len(NAMES["observation.state"]) + len(NAMES["observation.environment_state"]),
        codec=codec,
        model=Regression(network=network),
        n_obs_steps=1,
        horizon=8,
        execution=Execution(n_action_steps=2, action_low=(-FORCE, -FORCE), action_high=limit),
    )
    training = Training(steps=updates, batch_size=128, warmup_steps=min(250, updates // 4), ema_decay=0.999)
    return Recipe(policy=spec, training=training, environment="courier", seed=job.seed)


def selector_recipe(job: SkillsJob) -> SelectorRecipe:
    """Training of the selector, with the updates that the skills leave."""
    return SelectorRecipe(updates=max(1, job.updates // 10), held_out=0.0, seed=job.seed)


@cache
def demonstrations(count: int, seed: int, purpose: str) -> Episodes:
    """Demonstrations of a seed; those of different purposes are independent."""
    return courier_demonstrations(count, rng=stream(seed, "study skills", purpose))


def true_stage(observation: Any, history: Any) -> str:
    """The hand-written planner: the part of the task that is next."""
    names = (*NAMES["observation.state"], *NAMES["observation.environment_state"])
    vector = torch.tensor([[observation[name] for name in names]], dtype=torch.float64)
    return SKILLS[int(stage_of(vector))]


def expert_skill(name: str) -> ScriptedSkill:
    """One skill of the expert."""

    def force(observation: Tensor, state: Tensor) -> Tensor:
        return courier_force(name, observation)

    return ScriptedSkill(force)


def _whole(job: SkillsJob) -> Iterator[Cell]:
    """The cell of a policy of whole episodes."""
    ((_, recipe),) = recipes_of(job).items()
    policy, seconds = _trained(recipe, demonstrations(job.demos, job.seed, "training"))
    found = rollout(policy, CourierEnvironment(job.starts), starts=_starts(job), seed=job.seed)
    yield _cell(job.level, found, None, seconds)


def _skills(job: SkillsJob) -> Iterator[Cell]:
    """The cells of the arm high."""
    shown = demonstrations(job.demos, job.seed, "training")
    trained = [_trained(recipe, shown) for recipe in recipes_of(job).values()]
    started = perf_counter()
    selector = fit_selector(shown, selector_recipe(job)).selector
    seconds = sum(took for _, took in trained) + perf_counter() - started
    judged = confusion_of(selector, demonstrations(HELD_OUT, job.seed, "held out"), "skill")
    counts = [[int(steps) for steps in row] for row in judged.counts]
    ends = (LearnedEnd(),)
    skills = [Skill(name, policy, ends) for name, (policy, _) in zip(SKILLS, trained, strict=True)]
    library = SkillLibrary(tuple(skills))
    perfect = library.with_policies([expert_skill(name) for name in SKILLS])
    plans: dict[str, SkillPolicy] = {
        "high": _policy(library, selector),
        "high, naive switch": SkillPolicy(library, selector, every=EVERY, handover=Handover("naive")),
        "high, perfect selector": SkillPolicy(library, true_stage, every=1, selector=selector),
        "high, perfect skills": _policy(perfect, selector),
    }
    for arm, policy in plans.items():
        found = rollout(policy, CourierEnvironment(job.starts), starts=_starts(job), seed=job.seed)
        yield _cell(arm, found, policy, seconds, counts)


def _policy(library: SkillLibrary, selector: Selector) -> SkillPolicy:
    return SkillPolicy(library, selector, every=EVERY)


def _starts(job: SkillsJob) -> range:
    return range(FIRST_UNTOUCHED_SEED, FIRST_UNTOUCHED_SEED + job.starts)


def _trained(recipe: Recipe, episodes: Episodes) -> tuple[Policy, float]:
    started = perf_counter()
    data = prepare(recipe, episodes)
    return Policy(planner_of(recipe, data, train_to_end(recipe, data))), perf_counter() - started


def _cell(
    arm: str,
    found: Rollout,
    policy: SkillPolicy | None,
    seconds: float,
    confusion: list[list[int]] | None = None,
) -> Cell:
    actions, lengths = found.trajectory.actions, found.episodes.lengths
    skills = torch.zeros(actions.shape[:2], dtype=torch.int64) if policy is None else policy.chosen
    jumps = switch_jumps(actions, skills, lengths)
    each = [jumps.switches[jumps.episode == episode] for episode in range(len(lengths))]
    assert found.success is not None
    return Cell(
        arm=arm,
        success=[float(solved) for solved in found.success],
        stage=[float(parts) for parts in found.extra["stage"]],
        jump=[float(values.mean()) if len(values) else None for values in each],
        elsewhere=float(jumps.elsewhere.mean()),
        confusion=confusion,
        train_seconds=seconds,
    )
