"""`holdfast train`: one run, and the description of its data."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from ..data import Actions, Affine, Codec, Waypoints, describe_constants
from ..learn import (
    TrainingSet,
    estimator_errors,
    fastest,
    fit,
    measure_threads,
    prepare,
    prepare_held_out,
    seen_of,
    simulated,
)
from ..models import tokenizer_options
from ..nn import Cameras
from ..policy import PolicySpec
from ..recipe import Recipe
from ..rotations import encoded_names
from ..tokens import Tokenizer, load_tokenizer
from ..types import Episodes
from .console import console, name_files
from .environment import next_evaluation
from .machine import use_threads
from .progress import stages

ALONE, SHOWN = ": it maps to 0 and carries nothing.", 6
"""The end of a sentence on a constant coordinate, and the number of these that have a sentence each."""


def train_run(
    recipe: Recipe,
    episodes: Episodes,
    folder: Path,
    *,
    resume: bool,
    overwrite: bool,
    device: str,
    compiled: bool,
    any_threads: bool = False,
    encoders: Cameras | None = None,
    text_features: Tensor | None = None,
) -> None:
    """Train to the end or to Ctrl-C and print the result.

    Args:
        recipe: What to train.
        episodes: Demonstrations.
        folder: Run folder.
        resume: Continue from the training state in the folder.
        overwrite: Replace a run in the folder.
        device: Device of the training.
        compiled: Compile the loss.
        any_threads: Measure which number of threads is fastest and use it.
        encoders: Encoders of pictures with the weights of a file.
        text_features: Features of the instructions from a text encoder.
    """
    episodes = seen_of(episodes, recipe.policy.vision)
    tokens = tokenizer_options(recipe.policy.model) is not None
    # before the weights of the first checkpoint the tokenizer may be missing; fitted again, it is the same
    stored = resume and tokens and (folder / "model.safetensors").exists()
    tokenizer = load_tokenizer(folder / "tokenizer.safetensors") if stored else None
    data = _prepared(recipe, episodes, device, tokenizer, encoders)
    data = replace(data, text_features=text_features)
    say_preparation(data)
    for sentence in (*short_of(recipe, data), *constants(recipe, episodes, data)):
        console.say(sentence)
    console.say(f"{len(data.windows.lengths)} episodes, {len(data)} steps; {plan_of(recipe)}")
    if any_threads:
        _take_threads(measure_threads(recipe, data))
    with stages() as stage:
        advance = stage("training", recipe.training.steps)
        state = fit(
            recipe,
            data,
            folder,
            resume=resume,
            overwrite=overwrite,
            compiled=compiled,
            held_out=prepare_held_out(recipe, episodes, data),
            on_step=lambda state: advance(state.step),
        )
    console.say(f"step {state.step}, loss {float(state.loss):.5f}")
    name_files(folder)
    if recipe.selection.estimate is None:
        console.say(next_evaluation(recipe, folder))
        return
    if recipe.held_out and recipe.data:
        console.say(estimator_errors(folder).sentence)
    console.say(f"next: holdfast train {recipe.data} --sigma-from-estimator {folder} --out RUN")


def say_preparation(data: TrainingSet) -> None:
    """Print in one line what the preparation left out of the data."""
    notes = () if data.interface is None else data.interface.preparation
    if lost := [note for note in notes if note.startswith("--")]:
        console.say(f"prepared: {'; '.join(lost)}")


def short_of(recipe: Recipe, data: TrainingSet) -> list[str]:
    """A sentence on episodes, or segments, that are shorter than a chunk: their plans end with repeated actions."""
    lengths, horizon = data.windows.lengths, recipe.policy.horizon
    short = lengths[lengths < horizon]
    if not len(short):
        return []
    what = "segments" if recipe.preparation.segments else "episodes"
    return [
        f"{len(short)} of {len(lengths)} {what} are shorter than a chunk of {horizon} steps (the shortest has "
        f"{int(short.min())}): their chunks repeat the last action. --horizon sets another length"
    ]


def _prepared(
    recipe: Recipe, episodes: Episodes, device: str, tokenizer: Tokenizer | None, encoders: Cameras | None
) -> TrainingSet:
    """The training set, with a progress bar where pictures are made ready."""
    if recipe.policy.vision is None:
        return prepare(recipe, episodes, device=device, tokenizer=tokenizer)
    with stages() as stage:
        bars = dict[str, Callable[[int], None]]()

        def advance(camera: str, done: int, total: int) -> None:
            bar = bars.get(camera) or bars.setdefault(camera, stage(f"pictures of {camera}", total))
            bar(done)

        return prepare(recipe, episodes, device=device, tokenizer=tokenizer, encoders=encoders, on_pictures=advance)


def _take_threads(seconds: dict[int, float]) -> None:
    """Use the fastest number of threads, and print it where there was a choice."""
    count = fastest(seconds)
    use_threads(count)
    if len(seconds) > 1:
        times = ", ".join(f"{1e3 * value:.1f} ms with {threads}" for threads, value in seconds.items())
        console.say(f"threads: {count} (an update takes {times})")


def constants(recipe: Recipe, episodes: Episodes, data: TrainingSet) -> list[str]:
    """One sentence for each coordinate that is constant in a training set; one for all of them if they are many."""
    names = _names_of(episodes, recipe.policy)
    scales = {"observation": data.observation_scale, "chunk": data.code_scale}
    found = {part: describe_constants(scale, names[part]) for part, scale in scales.items()}
    return [f"{part}: {text}" for part, texts in found.items() for text in _gathered(texts)]


def _gathered(texts: list[str]) -> list[str]:
    """The sentences, those on constant coordinates in one if they are many.

    >>> _gathered([f"q{place} is constant (0): it maps to 0 and carries nothing." for place in range(8)])[0]
    '8 coordinates are constant, map to 0 and carry nothing: q0 (0), q1 (0), q2 (0), ..., q5 (0) and 2 more.'
    """
    constant = [text.removesuffix(ALONE).replace(" is constant (", " (") for text in texts if text.endswith(ALONE)]
    if len(constant) <= SHOWN:
        return texts
    others = [text for text in texts if not text.endswith(ALONE)]
    listed = f"{', '.join(constant[:SHOWN])} and {len(constant) - SHOWN} more"
    return [f"{len(constant)} coordinates are constant, map to 0 and carry nothing: {listed}.", *others]


def plan_of(recipe: Recipe) -> str:
    """Short description of a recipe."""
    return (
        f"{type(recipe.policy.codec).__name__} chunks of {recipe.policy.horizon} steps, "
        f"{type(recipe.synthesis).__name__}, sigma {recipe.training.sigma_train:g} in training, "
        f"{recipe.policy.execution.sigma_deploy:g} at deployment"
    )


def _names_of(episodes: Episodes, spec: PolicySpec) -> dict[str, list[str]]:
    """Names of the coordinates of observations and codes."""
    observed = episodes.observed
    parts = {"observation.state": observed.state, "observation.environment_state": observed.environment_state}
    seen = [name for part, values in parts.items() if values is not None for name in _names(episodes, part, values)]
    actions = _names(episodes, "action", episodes.actions)
    states = _names(episodes, "state", episodes.states)
    seen = encoded_names(seen, spec.observed_rotations)
    return {"observation": seen, "chunk": _code_names(spec.codec, actions, states)}


def _code_names(codec: Codec, actions: list[str], states: list[str]) -> list[str]:
    match codec:
        case Actions():
            return encoded_names(actions, codec.rotations)
        case Affine():
            gains = [f"gain of {action} on {state}" for action in actions for state in states]
            return [*actions, *(f"reference {name}" for name in states), *gains]
        case Waypoints():
            points = [f"way-point {states[index]}" for index in (*codec.velocities, *codec.positions)]
            return [*points, *(f"log stiffness of {name}" for name in actions)][: codec.width]


def _names(episodes: Episodes, quantity: str, values: Tensor) -> list[str]:
    """Coordinate names from the data, else from the system, else numbers."""
    of_system = {"action": "action_names", "state": "state_names", "observation.state": "state_names"}
    known = episodes.names.get(quantity) or getattr(simulated(episodes.system), of_system.get(quantity, ""), ())
    return list(known) if len(known) == values.shape[1] else [f"{quantity} {i}" for i in range(values.shape[1])]
