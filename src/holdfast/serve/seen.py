"""What a client sends of an observation: copies of its values by name, and what is wrong with them.

The server refuses what the policy was not trained on, at a plan. The client knows sizes from the server's metadata, so
that a mistake between two plans is said at once.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from ..errors import ServerError, ShapeError
from .chunks import Numbers
from .wire import flat

CAMERA = "observation.images."
_BESIDE = ("state", "prompt", "task")
"""Names that the server takes beside those of the training."""


def copied(observation: Any, depth: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """The values of one observation by name, copied: a program may read its next measurement into the same array.

    Args:
        observation: As in `Policy.select_action`, of one episode.
        depth: Range of each camera of measurements. In an `Observation`, these are bytes, and become measurements.

    Raises:
        ShapeError: Several episodes at once.
    """
    if not isinstance(observation, Mapping):
        observation = _parts(observation, depth)
    seen = {
        name: value if isinstance(value, str) else _numbers(value)
        for name, value in flat(cast("Mapping[str, Any]", observation)).items()
    }
    if (state := seen.get("observation.state")) is not None and np.ndim(state) != 1:
        raise ShapeError(
            f"expected observation.state [n] of one episode, got an array of shape {list(np.shape(state))}. Use a "
            "Client for each episode; the server plans for several together."
        )
    return seen


def stacked(window: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One message of several observations, oldest first.

    Raises:
        ShapeError: A value is missing in an observation before the last, or has another shape there.
    """
    if len(window) == 1:
        return dict(window[0])
    found = dict[str, Any]()
    for name, value in window[-1].items():
        if isinstance(value, str):
            found[name] = value
            continue
        steps = [step.get(name) for step in window]
        shapes = [None if one is None else list(np.shape(one)) for one in steps]
        if any(shape != shapes[-1] for shape in shapes):
            told = " and then ".join("none" if shape is None else str(shape) for shape in shapes)
            raise ShapeError(f"expected {name} in every observation of an episode, in one shape, got {told}.")
        found[name] = np.stack(cast("list[Any]", steps))
    return found


def check_seen(seen: Mapping[str, Any], feedback: Numbers, metadata: Mapping[str, Any]) -> None:
    """Refuse vectors and pictures of other sizes, and names beside them, on which the policy was not trained.

    Args:
        seen: An observation by name.
        feedback: State `[n]` at which the controllers are evaluated.
        metadata: What the server has said of its policy.

    Raises:
        ServerError: The server would refuse the observation at the next plan.
    """
    about: Mapping[str, Any] = metadata.get("observation") or {}
    if wrong := wrong_pictures(seen, about):
        raise ServerError(wrong[0])
    sizes: Mapping[str, int] = about.get("keys") or {}
    if not sizes or "observation.state" not in seen:
        return
    # all numbers may stand in one vector
    whole = "observation.environment_state" not in seen and np.shape(seen["observation.state"]) == (
        sum(sizes.values()),
    )
    for name, size in () if whole else sizes.items():
        if (shape := np.shape(seen.get(name, ()))) != (size,):
            raise ServerError(f"expected {name} [{size}], as in training, got an array of shape {list(shape)}.")
    pictures = {name for camera in about.get("images") or () for name in (camera, CAMERA + camera)}
    if extra := sorted(seen.keys() - {*sizes, *pictures, *_BESIDE}):
        cameras = (CAMERA + camera for camera in about.get("images") or ())
        raise ServerError(
            f"the policy was not trained on {', '.join(extra)}. Send {', '.join([*sizes, *cameras])} only."
        )
    wanted = metadata["state"]["shape"] if metadata.get("controllers") else list(feedback.shape)
    if list(feedback.shape) != wanted:
        raise ServerError(f"expected a feedback state of shape {wanted}, got {list(feedback.shape)}.")


def wrong_pictures(seen: Mapping[str, Any], about: Mapping[str, Any]) -> list[str]:
    """A sentence for each camera that is missing or not known, or whose pictures are not those of the training.

    Args:
        seen: An observation by name.
        about: The part `observation` of the server's metadata; one that does not tell pictures of bytes from
            measurements is not compared.
    """
    images: Mapping[str, list[int]] = about.get("images") or {}
    known = [CAMERA + camera for camera in images]
    unknown = [name for name in seen if name.startswith(CAMERA) and name not in known] if "images" in about else []
    told = " and ".join(known) or "no pictures"
    found = [f"the policy was not trained on {name}. Send {told}." for name in unknown]
    for camera, wanted in images.items() if "depth" in about else ():
        given = seen.get(CAMERA + camera, seen.get(camera))
        deep = camera in about["depth"]
        kind = "measurements" if deep else "bytes (uint8)"
        if given is None:
            found.append(f"expected {CAMERA}{camera}, {kind} of shape {wanted}, as in training; it is missing.")
            continue
        array = np.asarray(given)
        fits = array.dtype.kind in "iuf" and array.itemsize > 1 if deep else array.dtype == np.uint8
        if not fits or list(array.shape) not in ([wanted, wanted[:-1]] if deep else [wanted]):
            found.append(
                f"expected {CAMERA}{camera} as {kind} of shape {wanted}, as in training, got {array.dtype} of shape "
                f"{list(array.shape)}."
            )
    return found


def measured(levels: Any, near: float, far: float) -> Numbers:
    """The measurements that some bytes stand for, which become the same bytes again.

    byte 0: 0, which is no measurement; byte k: near + (k - 1) (far - near) / 254

    >>> measured(np.array([0, 1, 255], dtype=np.uint8), 300.0, 1570.0).tolist()
    [0.0, 300.0, 1570.0]
    """
    steps = _numbers(levels).astype(np.float64)
    # a measurement of 0 would be none
    return np.where(steps > 0, np.maximum(near + (steps - 1) * (far - near) / 254, np.finfo(np.float64).tiny), 0.0)


def _parts(observation: Any, depth: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """The parts of an `Observation`, or an array of readings, by name."""
    state = getattr(observation, "state", None)
    if state is None:
        return {"observation.state": observation}
    images: Mapping[str, Any] = getattr(observation, "images", None) or {}
    environment, task = (getattr(observation, name, None) for name in ("environment_state", "task"))
    given = {"observation.state": state}
    for camera, picture in images.items():
        given[CAMERA + camera] = measured(picture, *depth[camera]) if camera in depth else picture
    if environment is not None:
        given["observation.environment_state"] = environment
    # of one episode: an Observation has one instruction for each
    return given if not task else {**given, "task": task[0]}


def _numbers(value: Any) -> Numbers:
    """A copy of any array-like, tensors included."""
    return np.array(value.numpy(force=True) if hasattr(value, "detach") else value)
