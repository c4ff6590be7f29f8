"""A study of eight slow cells in real worker processes: python -m tests.campaigns.pooled FOLDER."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from holdfast.atomic import claimed, clear_unfinished
from holdfast.interrupts import Stopped, raising_interrupts
from holdfast.studies.engine.jobs import each, run_jobs

CELLS = 8


@dataclass(frozen=True)
class Cell:
    number: int

    @property
    def key(self) -> str:
        return f"cell-{self.number}"


def work(cell):
    time.sleep(0.2)
    return [{"number": cell.number, "numbers": list(range(20_000))}]


def main():
    folder = Path(sys.argv[1])
    try:
        with raising_interrupts(), claimed(folder):
            # as `holdfast study` does
            clear_unfinished(folder / "jobs")
            print("begun", flush=True)
            run_jobs([Cell(number) for number in range(CELLS)], each(work), folder, dict, workers=2)
    except Stopped as stop:
        sys.exit(128 + stop.signum)
    print("finished", flush=True)


if __name__ == "__main__":
    main()
