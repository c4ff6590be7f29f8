"""Times of rows in seconds, also where a file gives them in milli-, micro- or nanoseconds.

The unit is that of the name (`timestamp_ns`); else that of the epoch, as seconds since 1970 are about 1.7e9 today; else
the one in which the rate is that of a robot, 2 to 1000 Hz.
"""

import re

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

UNITS = {"seconds": 1.0, "milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9}
SUFFIXES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
NAMED = re.compile(r".*[_.\[( ]+(s|ms|us|ns)(ec)?[)\]]?", re.IGNORECASE)
EPOCH = (1e9, 4e9)
"""Seconds since 1970 between 2001 and 2096."""
SLOWEST, FASTEST = 2.0, 1000.0


def in_seconds(
    times: Float[ndarray, " rows"], lengths: Int[ndarray, " episodes"], name: str, dt: float | None = None
) -> tuple[Float[ndarray, " rows"], str]:
    """Times in seconds, and a sentence on the unit in which they were found; empty for seconds.

    Args:
        times: Times in the unit of the file.
        lengths: Steps of each episode.
        name: Name of the array.
        dt: Seconds per step, if the file gives them.

    >>> in_seconds(np.array([0.0, 2e7, 4e7]), np.array([3]), "timestamps")
    (array([0.  , 0.02, 0.04]), 'timestamps is read as nanoseconds: its steps of 2e+07 are 50 Hz.')
    """
    step = _step(times, lengths)
    unit = _unit(times, step, name, dt)
    if unit == "seconds" or step is None:
        return times, ""
    scale = UNITS[unit]
    # divided, not multiplied: powers of ten are exact, their inverses are not
    return times / round(
        1 / scale
    ), f"{name} is read as {unit}: its steps of {step:.4g} are {1 / (step * scale):.4g} Hz."


def _step(times: Float[ndarray, " rows"], lengths: Int[ndarray, " episodes"]) -> float | None:
    """The usual difference of neighbouring times of an episode; `None` if times do not rise."""
    owner = np.repeat(np.arange(len(lengths)), lengths)
    steps = np.diff(times)[np.diff(owner) == 0]
    ahead = steps[(steps > 0) & np.isfinite(steps)]
    return float(np.median(ahead)) if len(ahead) else None


def _unit(times: Float[ndarray, " rows"], step: float | None, name: str, dt: float | None) -> str:
    if (match := NAMED.fullmatch(name)) is not None:
        return SUFFIXES[match[1].lower()]
    first = float(np.median(times[np.isfinite(times)])) if np.isfinite(times).any() else 0.0
    for unit, scale in UNITS.items():
        if EPOCH[0] <= first * scale <= EPOCH[1]:
            return unit
    # whole steps of 1 count rows, in whatever time
    if step is None or step == 1:
        return "seconds"
    if dt is not None:
        return next((unit for unit, scale in UNITS.items() if abs(step * scale - dt) < 0.1 * dt), "seconds")
    return next((unit for unit, scale in UNITS.items() if SLOWEST <= 1 / (step * scale) < FASTEST), "seconds")
