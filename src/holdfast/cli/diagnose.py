"""`holdfast diagnose`: why a policy holds or drifts, as a page."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.markup import escape

from ..analysis.diagnosis import Diagnosis, diagnose, judgement, verdict
from ..analysis.diagnosis.page import write_diagnosis
from ..control import SYSTEMS, system
from ..data import read
from ..envs import ENVIRONMENTS, FIRST_TEST_SEED
from ..errors import HoldfastError, RecipeError
from ..evaluation import FixedStarts, fixed_starts
from ..learn import load_recipe
from ..policy import Policy
from ..recipe import Recipe
from ..types import Episodes
from .console import claim_folder, console, name_files, stages
from .machine import usable_device

__all__ = ["Diagnose"]

_MARKS = {"holds": "[green]holds [/green]", "drifts": "[red]drifts[/red]", "unclear": "–     "}


@dataclass(frozen=True)
class Diagnose:
    """Put a trained policy under all instruments and say, with evidence, why it holds or drifts.

    It flies from --starts held-out starts as it is, beside the expert where there is one, with one action off, with
    other noise, other replanning, weaker and stronger gains, late actions and noisy sensors; and it looks at how far
    plans from nearby observations are apart. Written are a page that works offline, its pictures, and result.json.

    A policy that is not Holdfast's is diagnosed with holdfast.diagnose in Python.
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run folder."""
    out: Path | None = None
    """Folder for the page; the run's own folder `diagnosis`, replaced, if nothing is said."""
    starts: int = 32
    """Flights of each variant; at least 10."""
    steps: int | None = None
    """Control steps of a flight; the task's own number if nothing is said."""
    sweeps: bool = True
    """Turn the knobs too, which takes most of the time."""
    environment: str | None = None
    """Where to fly; the environment that its data came from, if nothing is said."""
    data: Path | None = None
    """The demonstrations; those of the run if nothing is said."""
    first_seed: int = FIRST_TEST_SEED
    """Of the first episode in an environment. Tune below 100000."""
    seed: int = 0
    """Of the policy's noise, the instruments' draws, and on a built-in system of the initial states."""
    device: str = "cpu"
    """Where the network runs: cpu or cuda."""
    overwrite: bool = False
    """Replace results that lie in the folder."""

    def run(self) -> None:
        """Examine, show the verdict, write the page."""
        recipe = load_recipe(self.run_folder)
        name = self.environment or recipe.environment
        if name is None:
            raise RecipeError(
                f"the data of {self.run_folder} name no environment. Give one with --environment: "
                f"{', '.join(ENVIRONMENTS)}."
            )
        policy = Policy.from_pretrained(self.run_folder, device=usable_device(self.device), seed=self.seed)
        demonstrations = self._demonstrations(recipe)
        out = claim_folder(self.out or self.run_folder / "diagnosis", overwrite=self.overwrite or self.out is None)
        began = time.perf_counter()
        found = self._examine(policy, name, demonstrations)
        about = {"seed": self.seed, "recipe": recipe, "seconds": time.perf_counter() - began}
        self._show(found)
        name_files(*write_diagnosis(out, found, about=about))

    def _examine(self, policy: Policy, name: str, demonstrations: Episodes | None) -> Diagnosis:
        """The examination, with a bar over its instruments."""
        with stages() as stage:
            starts = self._fixed_starts(name, stage)
            done, parts = 0, 9 + (5 if self.sweeps else 0)
            bar = stage("instruments", parts)

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

    def _fixed_starts(self, name: str, stage: Callable[[str, int | None], Callable[[int], None]]) -> FixedStarts:
        flying = self.steps or system(name).steps if name in SYSTEMS else None
        return fixed_starts(
            name,
            self.starts,
            seed=self.seed,
            first_seed=None if flying else self.first_seed,
            steps=self.steps,
            on_step=stage("the expert", flying) if flying else lambda done: None,
        )

    def _show(self, found: Diagnosis) -> None:
        findings = verdict(found)
        word = judgement(findings)
        console.print(f"[bold]{escape(found.name)} on {found.environment}: {word}[/bold] ({self.starts} episodes)")
        for item in findings:
            console.print(f"  {_MARKS[item.tone]} {escape(item.claim)}\n      [dim]{escape(item.evidence)}[/dim]")

    def _demonstrations(self, recipe: Recipe) -> Episodes | None:
        if self.data is not None:
            return read(self.data)
        try:
            return read(Path(recipe.data)) if recipe.data else None
        except HoldfastError as reason:
            console.print(f"[dim]without the demonstrations: {reason}[/dim]", soft_wrap=True)
            return None
