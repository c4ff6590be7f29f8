"""Findings on episodes in which a column has the opposite sign, whose rows run backwards, or that nothing explains."""

from collections.abc import Iterator, Mapping

from ..findings import DataFinding, counted, listed, warning
from ..recording import Recording
from .repairs import Strange


def check_sign(label: str, group: list[int], recording: Recording) -> Iterator[DataFinding]:
    """A column whose sign is the opposite in some episodes."""
    numbers = [int(recording.episodes[e]) for e in group]
    yield warning(
        "signs",
        f"{label} has the opposite sign in {counted(len(numbers), 'episode')} of {len(recording.lengths)}: with its "
        f"sign changed back, they follow the same response as the others: episode {listed(numbers, 12)}.",
        effect="The same number means two directions: a policy learns their mean, which is near 0.",
        remedy="Change the sign of this column in these episodes and convert again, or leave them out: "
        f"--drop-episodes {' '.join(map(str, numbers))}.",
        values={"column": label, "episodes": numbers},
    )


def check_backwards(group: list[int], recording: Recording) -> Iterator[DataFinding]:
    """Episodes whose rows run from the end to the start."""
    numbers = [int(recording.episodes[e]) for e in group]
    yield warning(
        "order",
        f"The rows of {counted(len(numbers), 'episode')} of {len(recording.lengths)} run backwards: read from the last "
        f"row to the first, they follow the same response as the others: episode {listed(numbers, 12)}.",
        effect="The policy learns to undo the task, and actions that follow their effects.",
        remedy="Reverse the rows and convert again, or leave these episodes out: --drop-episodes "
        f"{' '.join(map(str, numbers))}.",
        values={"kind": "backwards", "episodes": numbers},
    )


def check_strange(strange: Mapping[int, Strange], recording: Recording) -> Iterator[DataFinding]:
    """Episodes that respond to the actions unlike the others."""
    if not strange:
        return
    texts = list[str]()
    for e, one in strange.items():
        size = f"{one.label}: {one.ratio:.2g} times the usual error, from step {one.step} on"
        texts.append(f"episode {recording.episodes[e]} ({size})")
    numbers = [int(recording.episodes[e]) for e in strange]
    yield warning(
        "unlike",
        f"{counted(len(numbers), 'episode')} of {len(recording.lengths)} respond to the actions unlike the others: "
        f"{listed(texts)}.",
        effect="A jump, a collision, another controller or a fault of the recorder: the policy learns motion that its "
        "actions do not cause. The other checks continue without these episodes.",
        remedy=f"Look at them, and leave them out if they are faulty: --drop-episodes {' '.join(map(str, numbers))}.",
        values={
            "episodes": numbers,
            "coordinates": [one.label for one in strange.values()],
            "ratios": [one.ratio for one in strange.values()],
            "steps": [one.step for one in strange.values()],
        },
    )
