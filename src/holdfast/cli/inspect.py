"""`holdfast inspect`: what is in a data set and what is wrong with it."""

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.markup import escape
from rich.padding import Padding

from ..data import read
from ..data.doctor import STAGES, Diagnosis, Finding, inspect_episodes
from ..errors import RecipeError
from ..report import Picture, write_result
from ..report.doctor import counted_findings, write_doctor_page
from ..report.doctor_pictures import draw_coverage, draw_idle, draw_lags, draw_lengths, draw_strips
from ..tokens import tokenizer_named
from ..types import Episodes
from .console import claim_folder, console, name_files, show_table, stages
from .inspect_tokenizer import inspect_tokenizer

__all__ = ["Inspect"]

COLOURS = {"error": "bold red", "warning": "bold yellow", "note": "bold blue"}
HEADINGS = {"error": "Errors", "warning": "Warnings", "note": "Notes"}


@dataclass(frozen=True)
class Inspect:
    """Look at a data set before training on it: what is in it, what is wrong with it, and what to do about it.

    Checks lengths, numbers, ranges, pauses, jumps, copies and timestamps; tells whether actions are targets, velocities
    or forces and how late they are answered; looks for answers that leak into the observation, for several answers to
    one observation, and how well the episodes cover their space. Findings, good or bad, end with exit status 0.

    With --tokenizer, instead: how long the codes of action chunks are, what they lose, and what one wrong token costs.
    """

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """Demonstrations, in any format that training reads; also those that training refuses."""
    out: Path | None = None
    """Folder for result.json, pictures and page; if nothing is said, one beside where you are, named after the data
    and -inspect or -TOKENIZER, and replaced."""
    horizon: int = 16
    """Steps of an action chunk, for the checks that compare chunks, and for tokenizers."""
    tokenizer: str | None = None
    """Fit a tokenizer to the actions and measure it: binning, fast, fsq, kmeans or residual-vq."""
    pictures: bool = True
    """Draw pictures and write the page; without, only result.json."""
    overwrite: bool = False
    """Replace results that lie in the folder."""

    def run(self) -> None:
        """Inspect, say what was found, write the page."""
        if self.horizon < 1:
            raise RecipeError(f"expected a horizon of at least 1 step, got {self.horizon}.")
        if self.tokenizer is not None:
            self._inspect_tokenizer(self.tokenizer)
            return
        started = time.perf_counter()
        # unchecked: what a check would refuse is to be found here
        episodes = read(self.data, check=False)
        with self._folder("inspect") as out, stages() as stage:
            found = inspect_episodes(episodes, horizon=self.horizon, progress=stage("looking", STAGES))
        _show(found, self.data.name)
        values: dict[str, Any] = {
            **found.facts,
            "findings": [asdict(finding) for finding in found.findings],
            "horizon": self.horizon,
            "seconds_taken": time.perf_counter() - started,
        }
        written = [write_result(out / "result.json", values)]
        if self.pictures:
            drawn = _pictures(found, out, episodes)
            page = write_doctor_page(
                out / "index.html",
                name=self.data.resolve().name,
                facts=_readable(found.facts),
                findings=found.findings,
                pictures=drawn,
            )
            written += [page]
        name_files(*written)

    def _inspect_tokenizer(self, name: str) -> None:
        tokenizer_named(name)
        with self._folder(name) as out:
            written = inspect_tokenizer(self.data, name, horizon=self.horizon, out=out, pictures=self.pictures)
        name_files(*written)

    @contextmanager
    def _folder(self, purpose: str) -> Generator[Path, None, None]:
        """The output folder; if nothing comes to lie in it, it does not stay, as it would only look like a result."""
        out = self.out or Path(f"{self.data.resolve().name.split('.')[0]}-{purpose}")
        out = claim_folder(out, overwrite=self.overwrite or self.out is None)
        try:
            yield out
        except BaseException:
            if not any(out.iterdir()):
                out.rmdir()
            raise


def _show(found: Diagnosis, name: str) -> None:
    facts = [[key, str(value)] for key, value in _readable(found.facts).items()]
    show_table(escape(name), ["", "what is in it"], facts)
    for severity, heading in HEADINGS.items():
        if some := [finding for finding in found.findings if finding.severity == severity]:
            console.print(f"\n[{COLOURS[severity]}]{heading}[/]")
            for finding in some:
                _say(finding)
    if good := [finding.what for finding in found.findings if finding.severity == "good"]:
        console.print("\n[bold green]In order[/]")
        for what in good:
            console.print(Padding(escape(what), (0, 0, 0, 2)))
    console.print(f"\n{counted_findings(found.findings)}")


def _say(finding: Finding) -> None:
    console.print(Padding(f"[bold]{escape(finding.check)}[/bold]: {escape(finding.what)}", (0, 0, 0, 2)))
    for text in (finding.effect, finding.remedy and f"→ {finding.remedy}"):
        if text:
            console.print(Padding(escape(text), (0, 0, 0, 4), style="dim" if text is finding.effect else ""))


def _readable(facts: Mapping[str, Any]) -> dict[str, str]:
    """Facts as a person reads them."""
    shortest, longest = facts["steps_shortest"], facts["steps_longest"]
    each = (
        f"{shortest} to {longest} an episode, median {facts['steps_median']:g}"
        if shortest < longest
        else f"{longest} an episode"
    )
    coordinates = f"{facts['action_coordinates']} action, {facts['state_coordinates']} state"
    shown: dict[str, str] = {
        "episodes": f"{facts['episodes']:,}",
        "steps": f"{facts['steps']:,} ({each})",
        "duration": "not known" if facts["seconds"] is None else _duration(facts["seconds"]),
        "step": "not known" if facts["dt"] is None else f"{facts['dt']:.4g} s ({1 / facts['dt']:.4g} Hz)",
        "system": facts["system"] or "not named",
        "coordinates": f"{coordinates}, {facts['observed_coordinates']} observed, in {facts['dtype']}",
        "final states": "recorded" if facts["final_states"] else "not recorded",
        "cameras": ", ".join(facts["cameras"]) or "none",
    }
    if "tasks" in facts:
        shown["tasks"] = str(facts["tasks"])
    if "sampled" in facts:
        shown["judged by a sample"] = facts["sampled"]
    return shown


def _duration(seconds: float) -> str:
    """A time as one says it.

    >>> _duration(42.0), _duration(2565.0), _duration(7300.0)
    ('42 s', '42 min 45 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _pictures(found: Diagnosis, out: Path, episodes: Episodes) -> list[Picture]:
    drawn = list[Picture]()

    def add(heading: str, path: Path, caption: str) -> None:
        drawn.append(Picture(heading, path, caption, heading))

    if found.strips:
        caption = "Scaling goes by the smallest and the largest value, so far values squeeze the rest together."
        add("How coordinates fill their range", draw_strips(out / "ranges.png", found.strips), caption)
    if len(set(found.lengths)) > 1:
        caption = "Every step counts alike in training, whatever episode it comes from."
        add("Lengths of the episodes", draw_lengths(out / "lengths.png", found.lengths, episodes.dt), caption)
    if found.lags:
        caption = "Changes of the action against changes of the state some steps later, on held-out episodes."
        add("How late the state answers", draw_lags(out / "lags.png", found.lags, episodes.dt), caption)
    if pausing := {number: mask for number, mask in found.idle.items() if mask.any()}:
        caption = "Pauses at the start and in the middle teach a policy to wait; those at the end to hold still there."
        add("Where nothing moves", draw_idle(out / "idle.png", pausing), caption)
    if found.coverage is not None:
        caption = (
            "Left: how far the nearest step of another episode is; vertical lines at σ = 0.03, 0.1 and 0.3. Right: how "
            "much action chunks differ where observations are that far apart. Noise helps where episodes are nearer "
            "than the distance at which the curve on the right has risen."
        )
        add("Who is near whom", draw_coverage(out / "coverage.png", found.coverage), caption)
    return drawn
