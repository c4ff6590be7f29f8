"""`holdfast evaluate LIBRARY`: a skill library in closed loop."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..control import SYSTEMS
from ..devices import usable_device
from ..envs import FIRST_UNTOUCHED_SEED, cameras_of, make_environment
from ..errors import RecipeError
from ..evaluation import Estimate, Evaluation, evaluate
from ..evaluation.intervals import over_starts
from ..evaluation.switches import switch_jumps
from ..learn import load_recipe
from ..policy.skills import LIBRARY_FILE, SkillPolicy, load_skills, skill_folders
from ..report import write_result
from .console import console, name_files, results_folder
from .environment import check_first_seed, environment_of
from .estimates import counted_episodes, show_estimates
from .machine import check_rollouts
from .places import check_apart, default_folder
from .progress import stages

ALLOWED = {"run_folder", "episodes", "untouched", "out", "seed", "first_seed", "environment", "device", "overwrite"}
"""Options of `holdfast evaluate` that a library takes."""


@dataclass(frozen=True, kw_only=True)
class LibraryEvaluation:
    """The options of `holdfast evaluate` for a library; see there."""

    library: Path
    episodes: int
    untouched: int
    out: Path | None
    seed: int
    first_seed: int | None
    environment: str | None
    device: str
    overwrite: bool

    def run(self) -> None:
        """Evaluate, show a table, write result.json."""
        folder = self.library.parent if self.library.name == LIBRARY_FILE else self.library
        check_apart(self.out, folder, within=True)
        first = next(iter(skill_folders(folder).values()))
        environment = environment_of(self.environment, load_recipe(first), first)
        check_first_seed(self.first_seed, environment)
        if self.untouched and environment in SYSTEMS:
            raise RecipeError(f"on {environment}, --seed selects all initial states. Omit --untouched.")
        policy = load_skills(folder, device=usable_device(self.device), seed=self.seed)
        out = self.out or default_folder(folder, "evaluation")
        with ExitStack() as stack:
            results = results_folder(out, overwrite=self.overwrite or self.out is None, purpose="evaluating into")
            opened = stack.enter_context(results)
            started = time.perf_counter()
            values = self._values(policy, environment)
            with opened() as fresh:
                written = write_result(fresh / "result.json", values | {"seconds": time.perf_counter() - started})
        name_files(written, prepared=fresh, out=out)

    def _values(self, policy: SkillPolicy, environment: str) -> dict[str, Any]:
        found, switches = self._evaluate(policy, environment, self.episodes, self.first_seed)
        show_estimates(found, f"{environment}, {counted_episodes(self.episodes, found)}")
        _say_switches(switches)
        values: dict[str, Any] = {
            **found.estimates,
            **switches,
            "environment": environment,
            "episodes": self.episodes,
            "seed": self.seed,
            "first_seed": found.first_seed,
            "skills": list(policy.library.names),
        }
        if self.untouched:
            apart, others = self._evaluate(policy, environment, self.untouched, FIRST_UNTOUCHED_SEED)
            show_estimates(apart, f"{environment}, {counted_episodes(self.untouched, apart)}, untouched by any choice")
            about = {"episodes": self.untouched, "first_seed": FIRST_UNTOUCHED_SEED}
            values["untouched"] = {**apart.estimates, **others, **about}
        return values

    def _evaluate(
        self, policy: SkillPolicy, environment: str, episodes: int, first_seed: int | None
    ) -> tuple[Evaluation, dict[str, Estimate]]:
        cameras = cameras_of(policy)
        made = make_environment(environment, episodes, images=bool(cameras), cameras=cameras)
        spec = policy.spec
        check_rollouts(episodes, made.steps, 0 if spec is None else spec.n_observed + spec.n_actions)
        try:
            with stages() as stage:
                advance = stage(f"{episodes} episodes", made.steps)
                found = evaluate(
                    policy, made, episodes=episodes, seed=self.seed, first_seed=first_seed, on_step=advance
                )
        finally:
            made.close()
        return found, _switches(policy, found)


def _switches(policy: SkillPolicy, found: Evaluation) -> dict[str, Estimate]:
    """Number of switches of an episode, and the jump of the action at each."""
    rollout = found.rollout
    actions, lengths = rollout.trajectory.actions, rollout.episodes.lengths
    skills = policy.chosen[:, : actions.shape[1]]
    jumps = switch_jumps(actions[:, : skills.shape[1]], skills, lengths)
    counts = (jumps.episode == jumps.episode.new_tensor(range(len(lengths)))[:, None]).sum(dim=1).double()
    known = {"switches": over_starts(counts)}
    if len(jumps.switches):
        known["jump"] = over_starts(jumps.switches)
    if len(jumps.elsewhere):
        known["change_elsewhere"] = over_starts(jumps.elsewhere)
    return known


def _say_switches(switches: dict[str, Estimate]) -> None:
    if "jump" not in switches:
        console.say("no switch of skills")
        return
    console.say(
        f"{switches['switches'].mean:.1f} switches an episode; the action jumps by {switches['jump'].mean:.3g} there, "
        "the largest change from one step to the next within four steps"
        + (f", and by {switches['change_elsewhere'].mean:.3g} elsewhere" if "change_elsewhere" in switches else "")
    )
