"""`holdfast diagnose`: why a policy holds or drifts, as a page."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from ..analysis import settings_of
from ..analysis.diagnosis import Cause, Diagnosis, check_starts, diagnose, judgement, verdict
from ..analysis.diagnosis.page import write_diagnosis
from ..control import SYSTEMS, system
from ..data import Selection, prepared, read
from ..devices import usable_device
from ..envs import Environment, Estimated, cameras_of, make_environment, with_pictures
from ..errors import HoldfastError
from ..evaluation import FixedStarts, fixed_starts
from ..learn import check_data_sizes, estimator_origin, load_estimator, load_recipe
from ..policy import Policy
from ..recipe import Recipe
from ..types import Episodes
from .console import console, name_files, results_folder
from .environment import check_first_seed, environment_of
from .places import check_apart, default_folder
from .progress import stages

_COLOURS = {"error": "red", "warning": "yellow", "note": ""}
_MARKS = {"holds": ("holds ", "green"), "drifts": ("drifts", "red"), "unclear": ("–     ", "")}


@dataclass(frozen=True)
class Diagnose:
    """Run every diagnostic on a trained policy and explain, with evidence, why it holds or drifts.

    The policy is run several times from --starts held-out initial states: as it is, in comparison with the expert where
    there is one; with one perturbed action; and with one of these settings changed, over a range of values: deployment
    noise, replanning interval, factor of the gains, transport delay of the actions, inference delay of the plans, and
    sensor noise. How continuously its plans depend on the observation is measured as well. The results are a page that
    works offline, its pictures and result.json.

    Deployment noise is what the policy itself adds to its observations before each plan (--sigma-deploy of `holdfast
    train`); the feedback K (x - x̄) of gains does not see it. Sensor noise is Gaussian noise on what the policy receives
    at every control step; the feedback sees it where it acts on the observation, as on built-in systems and in
    gym:<id>, but not where it acts on another state, as in mujoco:<id>.

    Use holdfast.diagnose in Python for a policy that was not trained with Holdfast.
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder of a trained policy."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the page, its pictures and result.json. Default: RUN/diagnosis, where earlier results
    are replaced even without --overwrite."""
    starts: int = 32
    """Number of episodes of each variant; at least 10. More give narrower intervals."""
    steps: int | None = None
    """Control steps per episode. Default: the episode length of the task."""
    sweeps: bool = True
    """Measure the score over ranges of deployment noise, replanning interval, factor of the gains, transport delay,
    inference delay and sensor noise as well, which takes most of the time."""
    environment: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Environment or built-in system in which to run the policy. Default: the environment recorded in the training
    data, or recognized from their layout, as for Push-T. For data without one, such as those of a real robot, give a
    simulation with the same observations and actions, for example gym:<id>; the other names are in `holdfast evaluate
    --help`."""
    estimator: Annotated[Path | None, tyro.conf.arg(metavar="EST")] = None
    """Run folder of an estimator (`holdfast train --estimate`), for a policy that sees no pictures: the coordinates
    that are estimated from the environment's pictures take the place of those that its simulator knows. Default: the
    environment's own."""
    instruction: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    """Instruction of all episodes, for a policy that was trained with --instructions. Default: that of the environment,
    or the only one that the policy knows."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="DATA")] = None
    """Demonstrations, for the diagnostics that compare the policy with them. Default: the training data of the run."""
    first_seed: int | None = None
    """Seed of the first episode. It is not available on built-in systems, where --seed selects the initial states. Use
    seeds below 100000 to tune a policy. Default: 100000, the first test seed."""
    seed: int = 0
    """Random seed for the noise of the policy, the diagnostics and, on a built-in system, the initial states."""
    device: str = "cpu"
    """Device on which the network runs: cpu or cuda."""
    overwrite: bool = False
    """Replace existing results in the folder given as --out."""

    def run(self) -> None:
        """Examine, show the verdict, write the page."""
        check_starts(self.starts)
        check_apart(self.out, self.run_folder, within=True)
        check_apart(self.out, self.data)
        recipe = load_recipe(self.run_folder)
        name = environment_of(self.environment, recipe, self.run_folder)
        check_first_seed(self.first_seed, name)
        policy = Policy.from_pretrained(self.run_folder, device=usable_device(self.device), seed=self.seed)
        if self.instruction is not None:
            policy.instruct(self.instruction)
        demonstrations = self._demonstrations(recipe)
        out = self.out or default_folder(self.run_folder, "diagnosis")
        with results_folder(out, overwrite=self.overwrite or self.out is None, purpose="diagnosing into") as opened:
            began = time.perf_counter()
            found = self._examine(policy, name, demonstrations)
            about = {"seed": self.seed, "recipe": recipe, "seconds": time.perf_counter() - began}
            about |= {} if self.estimator is None else {"estimator": estimator_origin(self.estimator)}
            self._show(found)
            with opened() as fresh:
                written = write_diagnosis(fresh, found, about=about)
        name_files(*written, prepared=fresh, out=out)

    def _examine(self, policy: Policy, name: str, demonstrations: Episodes | None) -> Diagnosis:
        """Diagnose, with a progress bar over diagnostics."""
        with stages() as stage:
            starts = self._fixed_starts(name, policy, stage)
            done, parts = 0, 10 + (len(settings_of(policy)) if self.sweeps else 0)
            bar = stage("diagnostics", parts)

            def begun(_: str) -> None:
                nonlocal done
                bar(done)
                done += 1

            try:
                found = diagnose(
                    policy,
                    starts,
                    name=self.run_folder.name,
                    demonstrations=demonstrations,
                    seed=self.seed,
                    sweeps=self.sweeps,
                    on_part=begun,
                )
            finally:
                starts.environment.close()
            bar(parts)
        return found

    def _fixed_starts(
        self, name: str, policy: Policy, stage: Callable[[str, int | None], Callable[[int], None]]
    ) -> FixedStarts:
        flying = self.steps or system(name).steps if name in SYSTEMS else None
        return fixed_starts(
            name if self.estimator is None else self._estimated(name, self.estimator),
            self.starts,
            seed=self.seed,
            first_seed=self.first_seed,
            steps=self.steps,
            fits=policy,
            on_step=stage("the expert", flying) if flying else lambda done: None,
        )

    def _estimated(self, name: str, folder: Path) -> Environment:
        """The environment with what the estimator finds in its pictures."""
        eyes = load_estimator(folder, device=usable_device(self.device))
        return Estimated(
            make_environment(with_pictures(name), self.starts, images=True, cameras=cameras_of(eyes)), eyes
        )

    def _show(self, found: Diagnosis) -> None:
        findings = verdict(found)
        word = judgement(findings)
        console.say((f"{found.name} on {found.environment}: {word}", "bold"), f" ({self.starts} episodes)")
        for number, cause in enumerate(found.causes, start=1):
            self._cause(number, cause)
        for item in findings:
            console.say(_MARKS[item.tone], f" {item.claim}", indent=2)
            console.say(item.evidence, indent=6, style="dim")

    def _cause(self, number: int, cause: Cause) -> None:
        console.say((f"cause {number}: ", "bold"), (cause.check, _COLOURS[cause.severity]), f": {cause.what}", indent=2)
        console.say(cause.effect, indent=6)
        console.say(f"→ {cause.remedy}", indent=6)
        console.say(f"confirmed: {cause.confirmed.answer}. {cause.confirmed.test}", indent=6, style="dim")

    def _demonstrations(self, recipe: Recipe) -> Episodes | None:
        if self.data is not None:
            # numbers and weights of episodes are those of the run's own data
            keys = Selection(state=recipe.selection.state, action=recipe.selection.action)
            found = prepared(read(self.data, selection=keys), replace(recipe.preparation, drop_episodes=(), weights=""))
            check_data_sizes(recipe.policy, found)
            return found
        try:
            if not recipe.data:
                return None
            found = read(
                Path(recipe.data),
                selection=recipe.selection,
                dropped=recipe.preparation.drop_episodes,
                download=False,
            )
            return prepared(found, recipe.preparation)
        except HoldfastError as reason:
            console.say(f"without the demonstrations: {reason}", style="dim")
            return None
