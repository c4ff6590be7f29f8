"""Names of the files inside zip archives, by which some formats are recognised."""

import zipfile
from pathlib import Path

__all__ = ["names_in"]


def names_in(path: Path) -> list[str]:
    """Names of the files in a zip archive; empty if the path is no zip archive or its index is damaged."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile):
        return []
