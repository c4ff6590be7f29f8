"""What HDF5 files of demonstrations say in attributes: environment, time step and instructions.

env_args           robomimic, LIBERO, RoboCasa, Isaac Lab: env_name, env_kwargs.control_freq, sim_args.dt · decimation
problem_info       LIBERO: language_instruction
ep_meta            RoboCasa: lang, an episode
fps, control_freq, dt, language_instruction, task, …     plain attributes of other programs
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...files import COPY, parse_json, shown
from ..robosuite_task import robosuite_name

INSTRUCTIONS = ("language_instruction", "lang", "language", "instruction", "task_description", "task")
NESTED = ("problem_info", "ep_meta")
RATES = ("control_freq", "fps", "dt")
KNOWN = frozenset({*INSTRUCTIONS, *NESTED, *RATES, "env_args"})
"""Attributes that are read as such."""
ROBOSUITE = 1


def parsed(text: Any, source: str, *, way_out: str = COPY) -> Any:
    """The JSON value of an attribute, which is a string, or its bytes, unless the file is damaged."""
    if isinstance(text, np.void):
        text = text.tobytes()
    if not isinstance(text, str | bytes):
        raise DataError(f"{source} is damaged (expected text, got {shown(text)}). {way_out}")
    return parse_json(text, source, way_out=way_out)


def environment_of(attributes: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The description of the environment, or nothing if there is none."""
    found = parsed(attributes.get("env_args", "{}"), f"{source}: attribute env_args")
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def system_of(environment: Mapping[str, Any]) -> Any:
    """The name of the environment; of robosuite's with the settings that are not robomimic's."""
    return robosuite_name(environment) if environment.get("type") == ROBOSUITE else environment.get("env_name")


def dt_of(environment: Mapping[str, Any], attributes: Mapping[str, Any]) -> float | None:
    """Seconds per control step: by the rate, or by the simulator's step times its steps per control step."""
    options, simulator = (_object(environment.get(name)) for name in ("env_kwargs", "sim_args"))
    for rate in (options.get("control_freq"), attributes.get("control_freq"), attributes.get("fps")):
        if is_positive(rate):
            return 1 / float(cast("float", rate))
    step, count = simulator.get("dt"), simulator.get("decimation", 1)
    if is_positive(step) and is_positive(count):
        return float(cast("float", step)) * float(cast("float", count))
    return float(attributes["dt"]) if is_positive(attributes.get("dt")) else None


def unusable_rates(attributes: Mapping[str, Any], environment: Mapping[str, Any] | None = None) -> list[str]:
    """Sentences on rates and time steps that are no positive numbers.

    >>> unusable_rates({"fps": "20", "task": "lift"})
    ["fps is '20', no positive number, so the time step is not known from it."]
    """
    options = _object((environment or {}).get("env_kwargs"))
    given = {name: attributes[name] for name in RATES if name in attributes}
    given |= {"control_freq": options["control_freq"]} if "control_freq" in options else {}
    return [
        f"{name} is {shown(value)}, no positive number, so the time step is not known from it."
        for name, value in given.items()
        if not is_positive(value)
    ]


def instruction_of(attributes: Mapping[str, Any]) -> str | None:
    """The instruction in the attributes of an episode or of a file; JSON and lists of texts become text."""
    for name in INSTRUCTIONS:
        if name in attributes and (text := text_of(attributes[name])):
            return text
    for name in NESTED:
        if name in attributes:
            inner = _object(_value(attributes[name]))
            if inner and (text := instruction_of(inner)):
                return text
    return None


def instructions_of(episodes: Sequence[Mapping[str, Any]], whole: Mapping[str, Any]) -> list[str] | None:
    """The instruction of each episode, by its own attributes, else by those of the file; `None` if none has one."""
    common = instruction_of(whole)
    found = [instruction_of(attributes) or common for attributes in episodes]
    return [text or "" for text in found] if any(found) else None


def text_of(value: Any) -> str | None:
    """An attribute as text: strings, bytes, JSON strings and lists of these; `None` for anything else.

    >>> text_of(b'["open the drawer"]'), text_of("push"), text_of(3)
    ('open the drawer', 'push', None)
    """
    found: Any = _value(value)
    if isinstance(found, list | tuple | np.ndarray):
        parts = [text_of(part) for part in cast("Sequence[Any]", found)]
        return "; ".join(part for part in parts if part) or None if all(parts) else None
    # the null character is in no name
    return found.strip().replace("\0", "") if isinstance(found, str) else None


def copies_of_actions(found: Mapping[str, Sequence[NDArray[Any]]], actions: Sequence[NDArray[Any]]) -> list[str]:
    """Sentences on observations, by key one array an episode, that repeat the action of this step or of the one before.

    >>> copies_of_actions({"obs/last": [np.array([[0.0], [1.0], [2.0]])]}, [np.array([[1.0], [2.0], [3.0]])])
    ['obs/last repeats the action of the step before, which a policy can copy. Choose others with --state.']
    """
    sentences = list[str]()
    for key, parts in found.items():
        pairs = list(zip(parts, actions, strict=True))
        if any(part[: len(taken)].shape != taken.shape for part, taken in pairs):
            continue
        same = all(np.array_equal(part[: len(taken)], taken) for part, taken in pairs)
        late = all(np.array_equal(part[1 : len(taken)], taken[:-1]) for part, taken in pairs)
        if same or (late and any(len(taken) > 1 for taken in actions)):
            sentences.append(
                f"{key} repeats the action of {'the same step' if same else 'the step before'}, which a policy can "
                "copy. Choose others with --state."
            )
    return sentences


def _value(value: Any) -> Any:
    """Bytes as text, and text that is JSON as its value."""
    scalar = isinstance(value, np.ndarray) and not cast("Any", value).ndim
    found: Any = cast("Any", value).item() if scalar else cast("Any", value)
    text: Any = found.decode(errors="replace") if isinstance(found, bytes) else found
    if isinstance(text, str) and text[:1] in ('"', "[", "{"):
        try:
            return parse_json(text, "an attribute")
        except DataError:
            return text
    return text


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def is_positive(value: Any) -> bool:
    """Whether a value is a number above 0 and below infinity."""
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return number and 0 < float(cast("float", value)) < float("inf")
