"""What a policy was trained on, compared with what it is given: a list of mismatches as values.

kind      severity   the policy was trained on … and is given …
names     error      other names
units     error      the same names in other units, as far as both are known and convertible; else a warning
order     warning    the same names in another order: they are put in order
subset    warning    its names and further ones: the further ones are left out
rate      warning    another time step
bounds    warning    actions beyond the environment's bounds
cameras   warning    the only camera by another name; colours that seem to be in reverse order
range     warning    first observations that lie outside every demonstration
scale     warning    first observations that would fill the demonstrations' range after a change of unit
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..nn import Vision
from ..types import Observation
from .camera_interface import CameraInterface, reversed_cameras
from .coordinate_names import Matched, matched, positional, ratio_of
from .first_observations import FACTORS, Outside, outside, scaled
from .interface import Coordinates, PolicyInterface

Kind = Literal["names", "units", "order", "subset", "rate", "bounds", "cameras", "range", "scale"]

SHOWN = 6
"""Largest number of names in a sentence."""
RATE = 0.05
"""Relative difference of time steps that is rounding of a frame rate."""


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """A difference between what a policy was trained on and what it is given.

    Attributes:
        kind: What differs; see the table of the module.
        severity: "error" if the policy is refused, else "warning".
        quantity: `observation`, `state`, `action` or `time step`.
        what: The difference, as one sentence with numbers.
        remedy: What to do.
        names: The coordinates concerned.
        values: The numbers, as JSON values.
    """

    kind: Kind
    severity: Literal["error", "warning"]
    quantity: str
    what: str
    remedy: str
    names: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=lambda: dict[str, Any]())

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}".rstrip()

    def to_plain(self) -> dict[str, Any]:
        """JSON values, for `result.json`."""
        return {**vars(self), "names": list(self.names), "values": dict(self.values)}


@dataclass(frozen=True)
class Compared:
    """Result of comparing the names of one quantity.

    Attributes:
        index: Position of each trained coordinate in what is given; `None` where names decide nothing.
        mismatches: The differences.
    """

    index: tuple[int, ...] | None
    mismatches: tuple[Mismatch, ...] = ()


def compare_names(quantity: str, trained: Coordinates, parts: Sequence[Sequence[str]], *, where: str) -> Compared:
    """Compare the names of a quantity with those that are given.

    Args:
        quantity: Name of the quantity in sentences.
        trained: Coordinates in training.
        parts: Given names, as one list for each part that both sides would have if they were stored alike.
        where: What gives them, in sentences.
    """
    offered = [name for part in parts for name in part]
    if trained.names is None or not offered:
        return Compared(None)
    found = matched(trained.names, offered)
    if found is None:
        return Compared(None)
    if found.missing or (found.extra and quantity == "action"):
        return _other_names(quantity, trained.names, parts, found, where)
    if found.moves or found.extra:
        return Compared(found.index, (_moved(quantity, trained.names, offered, found, where),))
    return Compared(found.index)


def _other_names(
    quantity: str, trained: tuple[str, ...], parts: Sequence[Sequence[str]], found: Matched, where: str
) -> Compared:
    if len(trained) == sum(map(len, parts)) and _only_positions(trained, parts):
        return Compared(None)
    lacking = f"no {listed(found.missing)}" if found.missing else "all that it was trained on"
    extra = f", and {listed(found.extra)} instead" if found.missing and found.extra else ""
    extra = extra or (f", and {listed(found.extra)} beside them" if found.extra else "")
    verb = "takes" if quantity == "action" else "has"
    one = Mismatch(
        kind="names",
        severity="error",
        quantity=quantity,
        what=f"{where} {verb} {lacking} in its {quantity}{extra}; the policy was trained on {listed(trained)}.",
        remedy="Run it where its data came from, or give the same coordinates the same names there and in the data.",
        names=found.missing or found.extra,
        values={"trained": list(trained), "given": [name for part in parts for name in part]},
    )
    return Compared(None, (one,))


def _only_positions(trained: Sequence[str], parts: Sequence[Sequence[str]]) -> bool:
    """Whether in each part one of the two lists names positions only, so that the names cannot disagree."""
    begin = 0
    for part in parts:
        ours = trained[begin : begin + len(part)]
        if not (positional(ours) or positional(part)):
            return False
        begin += len(part)
    return True


def _moved(quantity: str, trained: Sequence[str], offered: Sequence[str], found: Matched, where: str) -> Mismatch:
    done = "they are put in order by name" if found.moves else "the coordinates are taken by name"
    left = f"; {listed(found.extra)} of {where} are left out" if found.extra else ""
    order = f"the {quantity} of {where} has the order {listed(offered)}, the policy was trained on {listed(trained)}: "
    return Mismatch(
        kind="order" if found.moves else "subset",
        severity="warning",
        quantity=quantity,
        what=f"{order}{done}{left}.",
        remedy="",
        names=tuple(trained),
        values={"trained": list(trained), "given": list(offered), "index": list(found.index)},
    )


def compare_units(
    quantity: str, trained: Coordinates, units: Sequence[str], index: Sequence[int], *, where: str
) -> list[Mismatch]:
    """Compare the units of a quantity, where both are known, with those of the given coordinates `index`."""
    found = list[Mismatch]()
    for place, unit in enumerate(trained.units or ()):
        other = units[index[place]] if index[place] < len(units) else ""
        ratio = ratio_of(unit, other) if unit and other else 1.0
        if ratio == 1.0:
            continue
        name = trained.called(place, quantity=quantity)
        factor = "" if ratio is None else f" (1 {unit} = {ratio:.6g} {other})"
        found.append(
            Mismatch(
                kind="units",
                severity="warning" if ratio is None else "error",
                quantity=quantity,
                what=f"{name} was trained in {unit}, but {where} has it in {other}{factor}.",
                remedy="Convert one of the two, or correct the unit.",
                names=(name,),
                values={"trained": unit, "given": other, "factor": ratio},
            )
        )
    return found


def compare_rates(interface: PolicyInterface, dt: float | None, *, where: str) -> list[Mismatch]:
    """Compare the time step of the data with that of an environment [s]."""
    trained = interface.dt
    if trained is None or dt is None or dt <= 0 or 1 / (1 + RATE) <= dt / trained <= 1 + RATE:
        return []
    ratio = max(dt / trained, trained / dt)
    faster = "times as many" if dt < trained else "times fewer"
    return [
        Mismatch(
            kind="rate",
            severity="warning",
            quantity="time step",
            what=f"the data have {1 / trained:.4g} steps per second (dt {trained:.4g} s), {where} has {1 / dt:.4g} "
            f"(dt {dt:.4g} s), {ratio:.3g} {faster}.",
            remedy="Run the policy at the rate of its data, or train on data of this rate.",
            values={"trained": trained, "given": dt, "ratio": ratio},
        )
    ]


def compare_bounds(
    interface: PolicyInterface, bounds: tuple[Tensor, Tensor] | None, index: Sequence[int], *, where: str
) -> list[Mismatch]:
    """Compare the actions of the data with an environment's bounds; more than 1 % of them have to lie beyond one."""
    if bounds is None:
        return []
    lows, highs = (bound.detach().double().cpu().reshape(-1).expand(len(index)) for bound in bounds)
    given = [(float(lows[place]), float(highs[place])) for place in index]
    beyond = [place for place, (low, high) in enumerate(given) if _exceeds(interface.action, place, low, high)]
    return [_beyond_bounds(interface.action, beyond, given, where)] if beyond else []


def _central(action: Coordinates, place: int) -> tuple[float, float]:
    return (action.central_low or action.low)[place], (action.central_high or action.high)[place]


def _exceeds(action: Coordinates, place: int, low: float, high: float) -> bool:
    least, most = _central(action, place)
    slack = 1e-3 * max(most - least, abs(least), abs(most))
    return least < low - slack or most > high + slack


def _beyond_bounds(
    action: Coordinates, beyond: Sequence[int], given: Sequence[tuple[float, float]], where: str
) -> Mismatch:
    names = [action.called(place, quantity="action") for place in beyond]
    place, (least, most), (low, high) = beyond[0], _central(action, beyond[0]), given[beyond[0]]
    others = f" So {'do' if len(names) > 2 else 'does'} {listed(names[1:])}." if len(names) > 1 else ""
    return Mismatch(
        kind="bounds",
        severity="warning",
        quantity="action",
        what=f"the data's actions exceed the bounds of {where}: {names[0]} reaches from {action.low[place]:.4g} to "
        f"{action.high[place]:.4g} (98 % of it from {least:.4g} to {most:.4g}), and is clipped to [{low:.4g}, "
        f"{high:.4g}].{others}",
        remedy="Widen the bounds, or train on data that were recorded within them.",
        names=tuple(names),
        values={
            "coordinates": list(beyond),
            "trained": [[action.low[one], action.high[one]] for one in beyond],
            "central": [list(_central(action, one)) for one in beyond],
            "given": [[_plain(bound) for bound in given[one]] for one in beyond],
        },
    )


def compare_first(interface: PolicyInterface, seen: Float[Tensor, "b d"], *, where: str) -> list[Mismatch]:
    """Compare the first observations of flights `[b, d]`, in the policy's order, with the demonstrations."""
    trained, episodes = interface.observation, interface.episodes
    beyond = outside(trained, episodes, seen)
    found = [_outside(trained, beyond, len(seen), where)] if beyond else []
    shrunk = dict(scaled(trained, episodes, seen))
    if shrunk and not beyond:
        names = tuple(trained.called(index, quantity="observation") for index in shrunk)
        factor = max(shrunk.values())
        found.append(
            Mismatch(
                kind="scale",
                severity="warning",
                quantity="observation",
                what=f"the first observations of {where} would fill the range of the demonstrations after "
                f"multiplication by {factor:.4g} ({FACTORS[factor]}), for {listed(names)}.",
                remedy="Are the units the same?",
                names=names,
                values={"factor": factor, "coordinates": list(shrunk)},
            )
        )
    return found


def odd_first(interface: PolicyInterface, vision: Vision | None, seen: Observation, *, where: str) -> list[Mismatch]:
    """Compare what a policy sees of the first observations `[b, …]` of flights with the demonstrations."""
    unread = vision is not None and vision.readings == "none"
    found = [] if unread else compare_first(interface, seen.vector, where=where)
    return [*found, *turned_colours(interface.cameras, seen.images, where=where)]


def _outside(trained: Coordinates, beyond: Sequence[Outside], flights: int, where: str) -> Mismatch:
    worst = max(beyond, key=lambda one: (one.count, _distance(one)))
    names = tuple(trained.called(one.index, quantity="observation") for one in beyond)
    count = f"in {worst.count} of {flights} episodes " if flights > 1 else ""
    name = trained.called(worst.index, quantity="observation")
    steps = "first steps" if worst.of_first else "steps"
    others = f" So {'do' if len(names) > 2 else 'does'} {listed([n for n in names if n != name])}." * (len(names) > 1)
    factor = next((one.factor for one in beyond if one.factor is not None), None)
    unit = "" if factor is None else f" Divided by {1 / factor:.4g} it would be within ({FACTORS[1 / factor]})."
    return Mismatch(
        kind="range",
        severity="warning",
        quantity="observation",
        what=f"the first observation of {where} lies outside every demonstration: {name} is {worst.value:.4g} {count}"
        f"but {worst.low:.4g} to {worst.high:.4g} in the {steps} of the demonstrations.{others}{unit}",
        remedy="Is the order of the coordinates, a unit or the frame another one?",
        names=names,
        values={
            "coordinates": [one.index for one in beyond],
            "value": [one.value for one in beyond],
            "range": [[one.low, one.high] for one in beyond],
            "outside": [one.count for one in beyond],
            "episodes": flights,
            "factor": factor,
        },
    )


def _distance(one: Outside) -> float:
    return max(one.low - one.value, one.value - one.high) / max(one.high - one.low, 1e-12)


def _plain(bound: float) -> float | None:
    """A bound as a JSON value: `None` where there is none."""
    return bound if torch.tensor(bound).isfinite() else None


def listed(names: Sequence[str]) -> str:
    """Names for a sentence; a long list is cut."""
    shown = ", ".join(f"{name:.80}" for name in names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"


SAME_CAMERA = frozenset({"img", "image"})
"""Names of the camera of Push-T: in the published file (Chi et al. 2023), and in its simulation."""


def compare_cameras(
    trained: Sequence[CameraInterface], images: Mapping[str, Tensor], *, where: str
) -> tuple[str | None, list[Mismatch]]:
    """First pictures `[b, height, width, channels]` compared with those of the training.

    Args:
        trained: Cameras that the policy sees.
        images: First pictures by camera.
        where: Where the pictures come from, for messages.

    Returns:
        The policy's name of the only camera, where that has another name, and the mismatches.
    """
    found, renamed = list[Mismatch](), None
    if len(trained) == 1 and len(images) == 1 and trained[0].name not in images:
        given, renamed = next(iter(images)), trained[0].name
        images = {renamed: images[given]}
        if not {renamed, given} <= SAME_CAMERA:
            found.append(_other_camera(renamed, given, where))
    return renamed, [*found, *turned_colours(trained, images, where=where)]


def _other_camera(trained: str, given: str, where: str) -> Mismatch:
    return Mismatch(
        kind="cameras",
        severity="warning",
        quantity="observation",
        what=f"The policy was trained on the camera {trained}, and {where} has only the camera {given}.",
        remedy="Its pictures are taken for those of the training.",
        names=(trained, given),
    )


def turned_colours(trained: Sequence[CameraInterface], images: Mapping[str, Tensor], *, where: str) -> list[Mismatch]:
    """Cameras whose first pictures seem to have their colours in reverse order."""
    return [
        Mismatch(
            kind="cameras",
            severity="warning",
            quantity="observation",
            what=(
                f"The first pictures of camera {camera} of {where} have an unusual balance of colours, which would be "
                "usual if their channels were in reverse order (BGR, as OpenCV reads them, instead of RGB)."
            ),
            remedy="Reverse the channels: picture[..., ::-1].",
            names=(camera,),
        )
        for camera in reversed_cameras(trained, images)
    ]
