"""Files that are either whole or not there."""

import os
from pathlib import Path

from ..errors import OutputError


def write_atomically(path: Path, content: bytes | str) -> Path:
    """Write a file beside its place, flush it to disk, then move it there; text is UTF-8. Missing folders are made.

    At any moment, also after a kill or a power cut, the path holds either the old content or the new, whole.

    Returns:
        The path, so that callers can list what they wrote.

    Raises:
        OutputError: The path is a device, which would be removed.
    """
    # a pipe among the files of a run is replaced, because its place is ours; a device is the machine's
    if path.is_char_device() or path.is_block_device():
        raise OutputError(f"{path} is a device. Choose a file to write to.")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        # a link of this name, which someone may have put there, is removed, not followed
        unfinished.unlink(missing_ok=True)
        with unfinished.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        # the system names no file where a write fails, as on a full disk
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        unfinished.unlink(missing_ok=True)
    return path
