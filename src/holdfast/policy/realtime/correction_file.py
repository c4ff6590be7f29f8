"""The file in a run folder that stores a trained correction of planned actions.

`residual.safetensors` holds the weights. Its header holds, as JSON, the recipe, the sizes, the errors before and after,
and the digest of the run's weights: a correction of other weights is refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch

from ...atomic import put_back, write_atomically
from ...errors import HoldfastError, RunError
from ...schema import from_plain, to_plain
from ...sealed import Layout, Sealed, header_of, layouts, read_sealed, sealed
from ..planner import Planner
from ..stored import WEIGHTS
from .correction import Correction, CorrectionNet, CorrectionRecipe, CorrectionSizes

CORRECTION = "residual.safetensors"
VERSION = 1
"""Version of the file."""


def save_correction(
    folder: Path, correction: Correction, recipe: CorrectionRecipe, errors: Mapping[str, float]
) -> Path:
    """Write `residual.safetensors` into the run folder whose policy is corrected; the folder's lock must be held.

    Args:
        folder: Run folder.
        correction: Trained correction.
        recipe: What it was trained with.
        errors: Errors of the planned and of the corrected actions, for the reader.

    Raises:
        RunError: The run has no weights, or they carry no digest.
    """
    about = {
        "version": VERSION,
        "run": digest_of_run(folder),
        "recipe": to_plain(recipe),
        "sizes": to_plain(correction.sizes),
        "errors": dict(errors),
    }
    write_atomically(folder / CORRECTION, sealed(correction.net.state_dict(), about))
    return folder / CORRECTION


def load_correction(folder: str | Path, planner: Planner) -> Correction:
    """The correction that is stored in a run folder.

    Args:
        folder: Run folder.
        planner: Planner of the run.

    Raises:
        RunError: There is none, it is damaged, or it belongs to other weights or to a policy of other sizes.
    """
    path = Path(folder) / CORRECTION
    put_back(Path(folder))
    if not path.exists():
        raise RunError(
            f"{folder} has no trained correction, which the way residual needs. Train one with: holdfast train "
            f"--residual {folder}"
        )
    try:
        stored = _read(path)
        sizes, net = _net(path, stored.about)
        _check(stored)
    except (HoldfastError, OSError, KeyError, TypeError, ValueError) as error:
        _damaged(path, error)
    _check_belongs(path, stored.about, sizes, CorrectionSizes.of(planner.spec))
    net.load_state_dict(dict(stored.tensors), assign=True)
    return Correction.of(planner, net.eval().requires_grad_(False))


def correction_origin(folder: str | Path) -> dict[str, Any]:
    """What tells the correction stored in a run folder from others: recipe, errors, and digest of its weights."""
    header = header_of(Path(folder) / CORRECTION)
    return {name: header[name] for name in ("recipe", "errors", "digest")}


def digest_of_run(folder: Path) -> str:
    """Digest of the weights of a run, with which its scales and its policy are stored as well.

    Raises:
        RunError: There are no weights, or they were written before holdfast stored digests.
    """
    path = folder / WEIGHTS
    if not path.exists():
        raise RunError(
            f"{path} is missing. If the training was stopped, continue with: holdfast train --resume {folder}"
        )
    try:
        digest = header_of(path).get("digest")
    except HoldfastError as error:
        _damaged(path, error)
    if not isinstance(digest, str):
        raise RunError(
            f"{folder} was written before holdfast stored digests, so that no correction can be tied to its weights. "
            "Store them in a new folder: hf.load(RUN).save_pretrained(NEW)."
        )
    return digest


def _read(path: Path) -> Sealed:
    """The stored correction, after its version was compared."""
    version = header_of(path).get("version")
    if type(version) is int and version > VERSION:
        raise RunError(f"it has version {version}, and this holdfast reads up to {VERSION}; use a newer holdfast")
    return read_sealed(path)


def _net(path: Path, about: Mapping[str, Any]) -> tuple[CorrectionSizes, CorrectionNet]:
    """The network of the stored sizes, without memory; its layers are those that are stored."""
    recipe = from_plain(CorrectionRecipe, about["recipe"])
    sizes = from_plain(CorrectionSizes, about["sizes"])
    with torch.device("meta"):
        net = CorrectionNet(sizes, recipe.widths)
    expected = {name: Layout(tuple(value.shape), value.dtype) for name, value in net.state_dict().items()}
    if (found := layouts(path)) != expected:
        names = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
        here, there = found.get(names[0], "absent"), expected.get(names[0], "absent")
        raise RunError(f"{names[0]} is {here} instead of {there}")
    return sizes, net


def _check(stored: Sealed) -> None:
    if broken := stored.not_finite():
        raise RunError(f"it holds numbers that are not finite, in {', '.join(broken[:3])}")
    if stored.digest is None:
        raise RunError("its header lacks the digest with which it was written")
    stored.check()


def _check_belongs(path: Path, about: Mapping[str, Any], found: CorrectionSizes, expected: CorrectionSizes) -> None:
    """Refuse a correction of another policy.

    Raises:
        RunError: Its sizes are not those of the policy, or it was trained for other weights.
    """
    folder = path.parent
    if found != expected:
        raise RunError(
            f"{path} corrects a policy with {found}, but that of {folder} has {expected}. Train another "
            f"one with: holdfast train --residual {folder} --overwrite"
        )
    if about.get("run") != digest_of_run(folder):
        raise RunError(
            f"{path} was trained for other weights than those of {folder}: for another run, or before this one was "
            f"trained further. Train another one with: holdfast train --residual {folder} --overwrite"
        )


def _damaged(path: Path, reason: object) -> NoReturn:
    raise RunError(f"{path} is damaged ({reason}). Restore it from a copy, or train it again.")
