"""What zip files hold, for formats that are recognised by it."""

import zipfile
from pathlib import Path

__all__ = ["names_in"]


def names_in(path: Path) -> list[str]:
    """Names of what a zip file holds; none where it is no zip file, or its list is damaged."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile):
        return []
