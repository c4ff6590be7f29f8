"""`holdfast inspect`: what is in a data set and what is wrong with it."""

import time
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from torch import Tensor

from ..atomic import resolved
from ..data import Preparation, Selection, prepared, read
from ..data.doctor import STAGES, DataFinding, Inspection, inspect_episodes
from ..data.weighting import WEIGHT
from ..errors import DamageWarning
from ..report import Picture, write_result
from ..report.doctor import counted_findings, write_doctor_page
from ..report.doctor_pictures import draw_coverage, draw_idle, draw_lags, draw_lengths, draw_strips
from ..tokens import tokenizer_named
from ..types import Episodes
from .console import console, name_files, results_folder, show_table
from .inspect_tokenizer import inspect_tokenizer
from .places import check_apart, default_folder
from .preparing import Pause, preparation_of
from .progress import duration, stages
from .reading import ReadingOptions

COLOURS = {"error": "bold red", "warning": "bold yellow", "note": "bold blue"}
HEADINGS = {"error": "Errors", "warning": "Warnings", "note": "Notes"}


@dataclass(frozen=True)
class Inspect(ReadingOptions):
    """Check a data set before training on it: what it contains, what is wrong with it, and how to fix that.

    It checks episode lengths, non-finite and extreme values, pauses, jumps, duplicates and timestamps; it estimates
    whether actions are position targets, velocities or forces, and their delay; it looks for actions that leak into the
    observation and for different actions at the same observation (multimodality), and measures the coverage of the
    state space. The exit status is 0 whatever the findings are.

    With --tokenizer it measures a tokenizer of action chunks instead: tokens per chunk, reconstruction error, and the
    effect of one wrong token.
    """

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """Demonstrations, in any format that `train` reads; sets that `train` refuses can be inspected too."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for result.json, the pictures and the page. Default: a folder in the current folder, whose name is the
    last part of DATA up to its first dot, followed by -inspect, or by the tokenizer: pusht-inspect or pusht-fast for
    lerobot/pusht and for data/pusht.zarr. Earlier results there are replaced even without --overwrite."""
    horizon: int = 16
    """Chunk length in control steps, for checks that compare action chunks and for tokenizers."""
    tokenizer: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Tokenizer to fit to the actions and measure: binning, fast, fsq, kmeans or residual-vq. Default: none."""
    drop_episodes: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="N|N-M|COLUMN=VALUE [...]")] = None
    """Inspect the data as `holdfast train --drop-episodes` uses them. The report then numbers the remaining episodes
    from 0: take numbers for --drop-episodes from a report without it. Default: all episodes."""
    drop_idle: Annotated[tuple[Pause, ...] | None, tyro.conf.arg(metavar="{start,middle,end} [...]")] = None
    """Inspect the data as `holdfast train --drop-idle` uses them. Default: with their pauses."""
    shift_actions: int | None = None
    """Inspect the data as `holdfast train --shift-actions` uses them. Default: 0."""
    weights: Annotated[str | None, tyro.conf.arg(metavar="COLUMN|quality|FILE")] = None
    """Add the weights of `holdfast train --weights` to result.json. Default: none."""
    absolute_actions: bool = False
    """Inspect the data as `holdfast train --absolute-actions` uses them."""
    pictures: bool = True
    """Draw pictures and write the page; otherwise write only result.json."""
    overwrite: bool = False
    """Replace existing results in the folder given as --out."""

    def run(self) -> None:
        """Inspect, show the findings, write the page."""
        if self.tokenizer is not None:
            self._inspect_tokenizer(self.tokenizer)
            return
        started = time.perf_counter()
        # unchecked: the inspection reports what validation would refuse
        episodes, damage = _read_unchecked(self.data, self.selection())
        episodes = prepared(episodes, self._preparation())
        with self._results("inspect") as (out, opened):
            with stages() as stage:
                checking = stage("checking", STAGES)
                found = inspect_episodes(episodes, horizon=self.horizon, damage=damage, progress=checking)
            _show(found, self.data.name)
            with opened() as fresh:
                written = self._write(found, episodes, fresh, started=started)
        name_files(*written, prepared=fresh, out=out)

    def _preparation(self) -> Preparation:
        return preparation_of(
            self.drop_episodes, self.drop_idle, self.shift_actions, self.weights, self.absolute_actions
        )

    def _write(self, found: Inspection, episodes: Episodes, out: Path, *, started: float) -> list[Path]:
        values: dict[str, Any] = {
            **found.facts,
            "findings": [asdict(finding) for finding in found.findings],
            "horizon": self.horizon,
            **(_weights_in(episodes) if self.weights else {}),
            "seconds_taken": time.perf_counter() - started,
        }
        written = [write_result(out / "result.json", values)]
        if self.pictures:
            drawn = _pictures(found, out, episodes)
            page = write_doctor_page(
                out / "index.html",
                name=resolved(self.data).name,
                facts=_readable(found.facts),
                findings=found.findings,
                pictures=drawn,
            )
            written += [page]
        return written

    def _inspect_tokenizer(self, name: str) -> None:
        tokenizer_named(name)
        with self._results(name) as (out, opened), opened() as fresh:
            episodes = prepared(
                read(self.data, selection=self.selection(), dropped=self.drop_episodes or ()), self._preparation()
            )
            written = inspect_tokenizer(
                episodes, name, label=self.data.name, horizon=self.horizon, out=fresh, pictures=self.pictures
            )
        name_files(*written, prepared=fresh, out=out)

    @contextmanager
    def _results(self, purpose: str) -> Generator[tuple[Path, Callable[[], AbstractContextManager[Path]]]]:
        """The output folder, and what opens a folder to write to."""
        out = self.out or default_folder(Path(), f"{resolved(self.data).name.split('.')[0]}-{purpose}")
        check_apart(out, self.data)
        with results_folder(out, overwrite=self.overwrite or self.out is None, purpose="inspecting into") as opened:
            yield out, opened


def _weights_in(episodes: Episodes) -> dict[str, Any]:
    weights = episodes.episode_columns.get(WEIGHT)
    return {"weights": [float(weight) for weight in weights]} if isinstance(weights, Tensor) else {}


def _read_unchecked(data: Path, selection: Selection) -> tuple[Episodes, list[str]]:
    """Episodes, and sentences on damage; other warnings are shown as always."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DamageWarning)
        episodes = read(data, selection=selection, check=False)
    for one in caught:
        if not issubclass(one.category, DamageWarning):
            warnings.showwarning(one.message, one.category, one.filename, one.lineno)
    return episodes, [str(one.message) for one in caught if issubclass(one.category, DamageWarning)]


def _show(found: Inspection, name: str) -> None:
    facts = [[key, str(value)] for key, value in _readable(found.facts).items()]
    show_table(name, ["", "what is in it"], facts)
    for severity, heading in HEADINGS.items():
        if some := [finding for finding in found.findings if finding.severity == severity]:
            console.say()
            console.say(heading, style=COLOURS[severity])
            for finding in some:
                _say(finding)
    if good := [finding.what for finding in found.findings if finding.severity == "good"]:
        console.say()
        console.say("No problem", style="bold green")
        for what in good:
            console.say(what, indent=2)
    console.say()
    console.say(counted_findings(found.findings))


def _say(finding: DataFinding) -> None:
    console.say((finding.check, "bold"), f": {finding.what}", indent=2)
    for text in (finding.effect, finding.remedy and f"→ {finding.remedy}"):
        if text:
            console.say(text, indent=4, style="dim" if text is finding.effect else "")


def _readable(facts: Mapping[str, Any]) -> dict[str, str]:
    """Facts formatted for the table and the page."""
    shortest, longest = facts["steps_shortest"], facts["steps_longest"]
    each = (
        f"{shortest} to {longest} per episode, median {facts['steps_median']:g}"
        if shortest < longest
        else f"{longest} per episode"
    )
    coordinates = f"{facts['action_coordinates']} action, {facts['state_coordinates']} state"
    shown: dict[str, str] = {
        "episodes": f"{facts['episodes']:,}",
        "steps": f"{facts['steps']:,} ({each})",
        "duration": "not known" if facts["seconds"] is None else duration(facts["seconds"]),
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


def _pictures(found: Inspection, out: Path, episodes: Episodes) -> list[Picture]:
    drawn = list[Picture]()

    def add(heading: str, path: Path, caption: str) -> None:
        drawn.append(Picture(heading, path, caption, heading))

    if found.strips:
        caption = "Data are scaled by their smallest and largest values, so outliers compress the rest."
        add("Distribution of each coordinate over its range", draw_strips(out / "ranges.png", found.strips), caption)
    if len(set(found.lengths)) > 1:
        caption = "Training weighs every step equally, so long episodes count more than short ones."
        add("Lengths of the episodes", draw_lengths(out / "lengths.png", found.lengths, episodes.dt), caption)
    if found.lags:
        caption = "Correlation of action changes with state changes some steps later, on held-out episodes."
        add("Delay between action and state", draw_lags(out / "lags.png", found.lags, episodes.dt), caption)
    if pausing := {number: mask for number, mask in found.idle.items() if mask.any()}:
        caption = (
            "A policy learns to wait from pauses at the start and in the middle, and to stop from those at the end."
        )
        add("Where nothing moves", draw_idle(out / "idle.png", pausing), caption)
    if found.coverage is not None:
        caption = (
            "Left: distance to the nearest step of another episode, with vertical lines at σ = 0.03, 0.1 and 0.3. "
            "Right: difference of action chunks against the distance of their observations. Noise helps where episodes "
            "are nearer than the distance at which the right curve rises."
        )
        add("Distances between episodes", draw_coverage(out / "coverage.png", found.coverage), caption)
    return drawn
