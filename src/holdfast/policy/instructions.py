"""Instructions in what a robot's program has at hand.

{"observation.state": …, "task": "push the block"}       LeRobot's key
{"observation.state": …, "prompt": "push the block"}     openpi's key
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from ..errors import DataError, InterfaceError, ShapeError
from ..nn import Language
from ..nn.language import NONE
from ..types import Observation

KEYS = ("task", "prompt")


def task_in(value: Mapping[Any, Any], language: Language | None, episodes: Sequence[int]) -> tuple[str, ...] | None:
    """The instruction of each episode of a mapping; `None` if it holds none, or the policy follows none.

    Args:
        value: Mapping with a text, or one text for each episode, under "task" or "prompt".
        language: Instructions that the policy follows.
        episodes: Number of episodes `(b,)`, or `()` without a first axis.

    Raises:
        DataError: An instruction is no text.
        ShapeError: Another number of instructions than of episodes.
    """
    given = next((value[key] for key in KEYS if key in value), None)
    if language is None or given is None:
        return None
    count = episodes[0] if episodes else 1
    if isinstance(given, str):
        return (given,) * count
    listed = cast("Sequence[Any]", given) if isinstance(given, list | tuple) else [given]
    texts = tuple(text for text in listed if isinstance(text, str))
    if len(texts) != len(listed):
        odd = next(text for text in listed if not isinstance(text, str))
        raise DataError(f"expected the instruction as text, got {type(odd).__name__}.")
    if len(texts) != count:
        raise ShapeError(f"expected one instruction, or one for each of {count} episodes, got {len(texts)}.")
    return texts


def with_task(observation: Observation, language: Language | None, usual: str | None) -> Observation:
    """A batch of observations with an instruction for each episode.

    Args:
        observation: Observations `[b, ·]`.
        language: Instructions that the policy follows; `None` follows none.
        usual: Instruction of observations without one.

    Raises:
        InterfaceError: An instruction is missing, or unknown.
        ShapeError: Another number of instructions than of episodes.
    """
    if language is None:
        return observation
    count = len(observation.state)
    if observation.task is None:
        if usual is None and language.guidance == 0:
            usual = NONE
        if usual is None:
            raise InterfaceError(
                "the policy follows instructions, but was given none. Give one: on the command line --instruction "
                "TEXT, in a message to a server a prompt, in Python policy.instruct(TEXT) or a task with each "
                f"observation. {language.known()}"
            )
        return replace(observation, task=(usual,) * count)
    if len(observation.task) != count:
        raise ShapeError(f"expected {count} instructions, one for each episode, got {len(observation.task)}.")
    language.check(observation.task)
    return observation
