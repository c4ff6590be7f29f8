"""Page of `holdfast inspect`: content of a data set, its problems, and remedies."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from .cells import Cell
from .page import Facts, Picture, Section, Text, write_page

HEADINGS = {"error": "Error", "warning": "Warning", "note": "Note"}


@runtime_checkable
class Said(Protocol):
    """A finding: the check, its severity (error, warning, note or good), what, its effect on training, and a remedy."""

    @property
    def check(self) -> str: ...

    @property
    def severity(self) -> str: ...

    @property
    def what(self) -> str: ...

    @property
    def effect(self) -> str: ...

    @property
    def remedy(self) -> str: ...


def counted_findings(findings: Sequence[Said]) -> str:
    """Number of findings of each severity, in words.

    >>> counted_findings([])
    'no errors, no warnings, no notes'
    """
    words = list[str]()
    for severity in HEADINGS:
        count = sum(finding.severity == severity for finding in findings)
        words.append(f"{count or 'no'} {severity}{'' if count == 1 else 's'}")
    return ", ".join(words)


def write_doctor_page(
    path: Path, *, name: str, facts: Mapping[str, Cell], findings: Sequence[Said], pictures: Sequence[Picture]
) -> Path:
    """Write one page: facts, findings worst first, pictures."""
    good = {finding.check: finding.what for finding in findings if finding.severity == "good"}
    sections: list[Section] = [Facts("What is in it", facts)]
    sections += [_card(finding) for finding in findings if finding.severity in HEADINGS]
    sections += [Facts("In order", dict(good))] if good else []
    sections += [*pictures, Text("How to read it", READING)]
    return write_page(path, title=f"{name}, inspected", lead=_lead(findings), sections=sections)


def _lead(findings: Sequence[Said]) -> str:
    worst = next((finding for finding in findings if finding.severity in ("error", "warning")), None)
    counts = counted_findings(findings)
    said = f"{counts[0].upper()}{counts[1:]}."
    return said if worst is None else f"{said} First of all: {worst.what.split(': ')[0].rstrip('.')}."


def _card(finding: Said) -> Section:
    rows = {"found": finding.what, "what it does": finding.effect, "what to do": finding.remedy}
    return Facts(f"{HEADINGS[finding.severity]}: {finding.check}", {key: text for key, text in rows.items() if text})


READING = (
    "Errors make training refuse the set or learn nonsense; warnings make it learn worse than it could; notes are "
    "properties of the set that a choice depends on.",
    "Episodes, steps and coordinates without a name count from 0. Distances are in normalized units per coordinate: "
    "each coordinate is scaled to [-1, 1] by its smallest and largest value, as training does, and the distance of two "
    "observations is the root mean square over their coordinates. The noise σ of training has the same units.",
    "The difference of action chunks is the mean squared one, as a share of that of unrelated steps: 0 where equal "
    "observations were answered alike, 1 where the observation tells nothing of the answer.",
)
