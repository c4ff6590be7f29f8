"""A study of four cells that cost nothing, for what all studies share."""

from dataclasses import dataclass

from holdfast.studies.engine.jobs import each, run_jobs
from holdfast.studies.engine.options import StudyCommand
from holdfast.studies.engine.result import StudyResult, Verdict


@dataclass(frozen=True)
class Cell:
    number: int

    @property
    def key(self) -> str:
        return f"cell-{self.number}"


def work(cell):
    return [{"number": cell.number, "square": cell.number**2}]


@dataclass(frozen=True)
class TinyStudy(StudyCommand):
    """Squares of numbers."""

    def run(self, folder, stage):
        cells = [Cell(number) for number in range(4)]
        found = run_jobs(cells, each(work), folder, dict, in_process=True, on_done=stage("cells", len(cells)))
        rows = [row for results in found for row in results]
        return StudyResult("Squares", "They grow.", rows, [Verdict("They grow.", "0 to 9", "yes")])
