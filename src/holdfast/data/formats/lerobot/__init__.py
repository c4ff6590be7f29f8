"""LeRobot's data sets: version 3.0 (read and write) and 2.1 (read), without LeRobot itself.

    SET/
      meta/info.json                                rate, features and where the files are
      meta/tasks.parquet, meta/episodes/…           v3.0: instructions; lengths, files and statistics of the episodes
      meta/tasks.jsonl, meta/episodes.jsonl         v2.1: the same
      data/chunk-000/file-000.parquet               v3.0: many episodes a file; v2.1: one each
      videos/<camera>/chunk-000/file-000.mp4        where the pictures are films

What a set holds, and what it becomes:

    observation.state                 `states`, and what a policy sees
    observation.environment_state     the rest of what a policy sees
    observation.images.<camera>       a camera: stored pictures stay compressed, films stay files
    action, next.reward, timestamp    `actions`, `rewards`, `timestamps`
    task_index                        `tasks`: the instruction that an episode begins with
    fps, robot_type                   `dt`, `system`

Other features are left out and listed in `meta["features_left_out"]`; cameras whose films are not there in
`meta["cameras_missing"]`; episodes whose instruction changes in `meta["tasks_vary"]`. Stored statistics are not read:
scales are always fitted on the rows themselves, so a set without statistics is never passed through unscaled.

(Cadene et al. 2024, LeRobot, github.com/huggingface/lerobot; layouts as its versions 0.3 and 0.6 write them.)
"""

from pathlib import Path

from ...errors import DataError
from ...types import Episodes
from ..hub import fetch
from . import lerobot_v3, lerobot_v21
from .lerobot_info import read_layout
from .lerobot_rows import assemble
from .lerobot_write import write

__all__ = ["FOLDER", "fetch", "read", "recognises", "write"]

# A set of this format is a folder.
FOLDER = True
MARKS = ("meta/info.json", "meta/episodes", "meta/tasks.parquet", "meta/episodes.jsonl", "meta/tasks.jsonl")


def recognises(path: Path | str) -> bool:
    """Whether a path looks like a LeRobot set; a damaged one does too, so that `read` can say what is missing."""
    folder = Path(path)
    info = folder / "meta" / "info.json"
    if info.is_file():
        # another program's meta/info.json says nothing of a codebase; a damaged one may still be a set's
        text = info.read_text(encoding="utf-8", errors="replace")
        return "codebase_version" in text or (folder / "data").is_dir()
    return (folder / "data").is_dir() and any((folder / mark).exists() for mark in MARKS)


def read(path: Path | str) -> Episodes:
    """Read a set of version 3.0 or 2.1; numbers become resident, pictures stay where they are.

    Raises:
        DataError: A file is missing, damaged, cut short or not finalised; the files do not belong together; the
            version is not known; or the set lacks `action` or `observation.state`.
    """
    folder = Path(path)
    layout = read_layout(folder)
    match layout.version:
        case "v3.0":
            recording = lerobot_v3.read_recording(layout)
        case "v2.1":
            recording = lerobot_v21.read_recording(layout)
        case unknown:
            raise DataError(
                f"{folder / 'meta' / 'info.json'} says codebase_version {unknown!r}. Known: v2.1, v3.0. LeRobot's own "
                "converters bring older sets forward: lerobot.datasets.v21.convert_dataset_v20_to_v21 (in its version "
                "0.3), then lerobot.scripts.convert_dataset_v21_to_v30."
            )
    return assemble(layout, recording)
