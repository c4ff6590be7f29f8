"""From a client's message to the request of a plan, or a sentence why not.

{"observation/state": …, "observation/environment_state": …}        openpi's nested keys
{"observation.state": …, "observation.environment_state": …}        LeRobot's keys
{"joints": …, "grip": …}                                            the run's own names
{…, "state": …}                                                     feedback state of the controllers, optional
{…, "holdfast": {"reset": …, "seed": …, "aside": …, "prefix": …, "delay": …, "executed": …, "way": …}}     optional
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from ..data import encode, feeds_back
from ..errors import DataError, InterfaceError, ShapeError
from ..policy import Policy
from ..policy.finite import check_finite
from ..policy.instructions import with_task
from ..policy.mismatch import listed
from ..policy.named_observation import is_named, unknown_names
from ..policy.observed import as_observation
from ..policy.real_numbers import as_numbers
from ..policy.seen_pictures import PREFIX
from ..types import Observation, Prefix, PrimitiveControllers
from .continuing import Continues, check_held, continues_of
from .served import Served
from .wire import OPTIONS, flat

_KNOWN_OPTIONS = ("aside", "delay", "executed", "prefix", "reset", "seed", "way")
_PROMPTS = ("prompt", "task")


@dataclass(frozen=True, kw_only=True)
class Request:
    """Request of one plan.

    Attributes:
        steps: Observations `[1, ·]` since the last request, oldest first.
        state: Feedback state `[n]` at which the reply evaluates the first controller, if given.
        reset: Whether a new episode begins with these observations.
        seed: Random seed of the new episode; `None` continues the session's randomness.
        aside: Whether the session's window and randomness stay as they were.
        prefix: Known steps of the plan, in normalised codes.
        continues: How the plan continues the last one of the session; `None` for a plan by itself.
    """

    steps: tuple[Observation, ...]
    state: Tensor | None = None
    reset: bool = False
    seed: int | None = None
    aside: bool = False
    prefix: Prefix | None = None
    continues: Continues | None = None


def request_of(message: Mapping[str, Any], served: Served) -> Request:
    """The request of a message.

    Raises:
        DataError: A value is not a finite real number, or an option is not known.
        InterfaceError: A name is missing, or is not among those of the run.
        ShapeError: A shape is another one than in training.
    """
    given = dict(message)
    options = _options(given.pop(OPTIONS, None))
    named = flat(given)
    texts = [_prompt(named.pop(prompt), prompt) for prompt in _PROMPTS if prompt in named]
    if len({*texts}) > 1:
        raise DataError(f"prompt and task differ: {texts[0]!r:.80} and {texts[1]!r:.80}. Send one of them.")
    state = _state(named, served)
    _check_names(named, served)
    seen = _instructed(_seen(named, served), texts, served.policy)
    _check_parts(seen, named, served)
    check_finite(seen, seen.state if state is None else state[None])
    steps = tuple(seen.at(slice(index, index + 1)) for index in range(len(seen.state)))
    continues = continues_of(options, served)
    prefix = None if continues is not None else _prefix(options, served)
    return Request(steps=steps, state=state, prefix=prefix, continues=continues, **_choices(options))


def _seen(named: Mapping[str, Any], served: Served) -> Observation:
    """The observations `[k, ·]` of a message."""
    try:
        return _in_time(as_observation(named, served.policy.spec, served.policy.interface))
    except ShapeError:
        for key in served.sizes if not is_named(named) else ():
            shape = list(as_numbers(named.get(key, [0.0]), key).shape)
            if len(shape) not in (1, 2) or 0 in shape:
                # a policy says it of episodes, and a session has one
                raise ShapeError(
                    f"expected {key} as an array [n], one observation, or [k, n], the k observations since the last "
                    f"request, oldest first, got an array of shape {shape}."
                ) from None
        raise


def _in_time(seen: Observation) -> Observation:
    """Observations `[k, ·]`, oldest first; a single one has no axis of time."""
    return seen if seen.state.dim() == 2 else seen.map(lambda values: values[None])


def _check_names(named: Mapping[str, Any], served: Served) -> None:
    """Refuse names that the policy was not trained on: a robot's program should know that they are not read."""
    if not is_named(named):
        extra = sorted(named.keys() - {"observation.state", "observation.environment_state", *_pictures(served)})
    else:
        numbers = {name: value for name, value in named.items() if name not in _pictures(served)}
        # the data of a policy that sees pictures alone may name no numbers
        extra = sorted(numbers) if served.names is None else unknown_names(numbers, served.names)
        # without any name of the run, the sentence about what is missing says more
        extra = extra if len(extra) < len(named) else []
    if extra and served.names is not None and not unknown_names(dict.fromkeys(extra), served.names):
        raise InterfaceError(
            f"the observation holds {listed(extra)} by name beside 'observation.state', which has all coordinates. "
            "Send one of the two."
        )
    if extra:
        raise InterfaceError(
            f"the policy was not trained on {listed(extra)}. Send {_expected(served)} only; 'prompt' and 'task' are "
            "accepted, and read by policies that follow instructions."
        )


def _pictures(served: Served) -> list[str]:
    """Keys of the pictures that the policy sees."""
    vision = served.policy.spec.vision
    return [key for camera in (vision.cameras if vision else ()) for key in (PREFIX + camera, camera)]


def _expected(served: Served) -> str:
    vision = served.policy.spec.vision
    pictures = {PREFIX + view.camera: list(view.shape) for view in (vision.views if vision else ())}
    keys = " and ".join(
        [f"'{key}' [{size}]" for key, size in served.sizes.items()] + [f"'{k}' {size}" for k, size in pictures.items()]
    )
    return keys if served.names is None else f"{keys}, or by name {listed(served.names)},"


def _check_parts(seen: Observation, named: Mapping[str, Any], served: Served) -> None:
    """Refuse a division into robot and environment other than the run's, and too many steps."""
    if len(seen.state) > served.longest:
        raise ShapeError(
            f"expected at most {served.longest} observations in one request, oldest first, got {len(seen.state)}. Send "
            f"those since the last request; the policy uses the last {served.policy.spec.n_obs_steps}."
        )
    rest = served.sizes.get("observation.environment_state", 0)
    if seen.environment_state is not None and not is_named(named) and seen.environment_state.shape[-1] != rest:
        raise ShapeError(
            f"expected {_expected(served)} as in training, got {seen.state.shape[-1]} and "
            f"{seen.environment_state.shape[-1]} numbers."
        )


def _prompt(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"expected {name} as text, got {type(value).__name__}.")
    return value


def _instructed(seen: Observation, texts: list[str], policy: Policy) -> Observation:
    """Observations with the instruction of a message, or else of the policy, if it follows instructions."""
    language = policy.spec.language
    given = replace(seen, task=(texts[0],) * len(seen.state)) if texts and language is not None else seen
    return with_task(given, language, policy.instruction)


def _state(named: dict[str, Any], served: Served) -> Tensor | None:
    """The feedback state, taken out of the message; it stays where the run has a quantity of that name."""
    if "state" not in named or (served.names is not None and not unknown_names({"state": 0}, served.names)):
        return None
    state, expected = as_numbers(named.pop("state"), "state"), [served.policy.spec.n_states]
    if list(state.shape) != expected:
        raise ShapeError(f"expected the feedback state as an array of shape {expected}, got {list(state.shape)}.")
    return state


def _options(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict | None):
        raise DataError(f"expected a map under {OPTIONS!r}, got {type(given).__name__}.")
    options = cast("dict[str, Any]", given or {})
    if unknown := sorted(options.keys() - {*_KNOWN_OPTIONS}):
        raise DataError(f"expected {', '.join(_KNOWN_OPTIONS)} under {OPTIONS!r}, got {listed(unknown)}.")
    return options


def _choices(options: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("reset", "aside"):
        if not isinstance(options.get(name, False), bool):
            raise DataError(f"expected {name} as true or false, got {options[name]!r:.80}.")
    seed = options.get("seed")
    if seed is not None and not (type(seed) is int and 0 <= seed < 2**32):
        raise DataError(f"expected seed as an integer from 0 to {2**32 - 1}, got {seed!r:.80}.")
    return {"reset": options.get("reset", False), "aside": options.get("aside", False), "seed": seed}


def _prefix(options: Mapping[str, Any], served: Served) -> Prefix | None:
    """The known steps of the plan in normalised codes; the first `delay` of them hold if weights are not given."""
    given: Any = options.get("prefix")
    if given is None:
        if options.get("delay") is not None:
            raise DataError(
                "a delay needs the prefix that is executed meanwhile, or `executed`, the number of steps of the last "
                "plan that were executed. Send one of them too, or no delay."
            )
        return None
    kind = type(given).__name__
    if not isinstance(given, dict) or given.keys() - {"actions", "states", "gains", "weights"}:
        keys = listed(sorted(cast("dict[str, Any]", given))) if isinstance(given, dict) else ""
        got = f"the keys {keys}" if keys else kind
        raise DataError(f"expected the prefix as a map of actions, states, gains and weights only, got {got}.")
    known = cast("dict[str, Any]", given)
    controllers = _held(known, served)
    planner = served.policy.planner
    code = planner.code_scale.normalize(encode(planner.spec.codec, controllers).double())
    weights = _weights(known, options.get("delay"), len(code))
    check_held(int((weights == 1).cumprod(0).sum()), served)
    check_finite(Observation(state=code), weights)
    return Prefix(chunk=code[None], weights=weights)


def _held(given: Mapping[str, Any], served: Served) -> PrimitiveControllers:
    spec = served.policy.spec
    sizes = {"actions": (spec.n_actions,), "states": (spec.n_states,), "gains": (spec.n_actions, spec.n_states)}
    needed = sizes if feeds_back(spec.codec) else {"actions": sizes["actions"]}
    if missing := [name for name in needed if name not in given]:
        raise DataError(f"the prefix lacks {' and '.join(missing)}, which the plans of this run consist of.")
    values = {name: as_numbers(given[name], f"{name} of the prefix") for name in needed}
    count = values["actions"].shape[0] if values["actions"].dim() else 0
    for name, value in values.items():
        if not 1 <= count <= served.horizon or value.shape != (count, *sizes[name]):
            raise ShapeError(
                f"expected {name} of the prefix as an array of shape [k, {', '.join(map(str, sizes[name]))}] of 1 to "
                f"{served.horizon} steps, got {list(value.shape)}."
            )
    if len(values) == 1:
        return PrimitiveControllers.open_loop(values["actions"], values["actions"].new_zeros(count, spec.n_states))
    return PrimitiveControllers(**values)


def _weights(given: Mapping[str, Any], delay: Any, count: int) -> Tensor:
    if delay is not None and not (type(delay) is int and 0 <= delay <= count):
        raise DataError(f"expected delay as an integer from 0 to the {count} steps of the prefix, got {delay!r:.80}.")
    if given.get("weights") is None:
        return (torch.arange(count) < (count if delay is None else delay)).double()
    weights = as_numbers(given["weights"], "weights of the prefix").double()
    if weights.shape != (count,) or not bool(((weights >= 0) & (weights <= 1)).all()):
        raise DataError(f"expected {count} weights from 0 to 1, one for each step of the prefix.")
    return weights
