"""Data sets from the Hugging Face Hub, downloaded into its cache."""

from pathlib import Path

from ..errors import DataError
from ..files import read_text
from .inside import SNAPSHOTS

CACHED = "datasets--"


def fetch(repo_id: str, *, revision: str | None = None, download: bool = True) -> Path:
    """The folder of a data set from the Hub, downloaded once and then read from the cache.

    Raises:
        DataError: There is no such set, the Hub cannot be reached, or nothing may be downloaded and it is not cached.
    """
    # here, because it is slow to import and most sets are on disk
    from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType]
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo_id, repo_type="dataset", revision=revision, local_files_only=not download))
    except HFValidationError as error:
        raise DataError(
            f"{repo_id!r} is neither an existing path nor a name on the Hub: expected owner/name."
        ) from error
    except LocalEntryNotFoundError as error:
        raise DataError(_unreachable(repo_id, "no connection") if download else _not_cached(repo_id)) from error
    except HfHubHTTPError as error:
        raise DataError(
            f"{repo_id} is not an existing path, and the Hub has no such data set for you "
            f"({type(error).__name__}). Check the spelling; for a private or gated set, log in: hf auth login"
        ) from error
    except OSError as error:
        raise DataError(_unreachable(repo_id, type(error).__name__)) from error


def snapshot_of(place: Path) -> Path | None:
    """The snapshot to read where a folder of the Hub's cache is given, `datasets--owner--name`; `None` for others.

    Raises:
        DataError: The cache holds no snapshot, or several of which none is the branch main.
    """
    holder = place.parent if place.name == SNAPSHOTS else place
    if not (holder / SNAPSHOTS).is_dir() or not holder.name.startswith(CACHED):
        return None
    found = sorted(folder for folder in (holder / SNAPSHOTS).iterdir() if folder.is_dir())
    try:
        main = holder / SNAPSHOTS / read_text(holder / "refs" / "main", largest=1024).strip()
    except OSError:
        main = None
    if len(found) == 1 or main in found:
        return main if main in found else found[0]
    raise DataError(
        f"{place} is a folder of the Hugging Face Hub's cache with {len(found)} snapshots. Give one of them: "
        f"{', '.join(map(str, found)) or 'there is none, so download the data set again'}."
    )


def _unreachable(repo_id: str, why: str) -> str:
    return (
        f"{repo_id} is not an existing path, and the Hub cannot be reached ({why}). Check the spelling, or download it "
        f"on a machine that is online: hf download {repo_id} --repo-type dataset --local-dir {Path(repo_id).name}"
    )


def _not_cached(repo_id: str) -> str:
    return (
        f"{repo_id} is a data set on the Hub that is not on this machine, and nothing is downloaded because a file "
        f"refers to it. If you want it: hf download {repo_id} --repo-type dataset"
    )
