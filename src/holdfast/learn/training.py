"""Training as a generator of states: the caller logs, saves and stops.

    for state in train(recipe, data, initial_state(recipe)):
        ...

The random stream of update i is (seed, "update", i), so that a resumed training draws what an uninterrupted one draws,
without any stored generator state.
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch

from ..data import width
from ..errors import CompileWarning, DivergedError, RecipeError
from ..models import ChunkModel, Pictured, instructed_in
from ..policy import Planner, build_model
from ..recipe import Recipe
from ..seeding import stream
from .dataset import TrainingSet
from .gradients import Differentiated, Parameters, gradients_of
from .optimise import Moments, train_step, zero_moments
from .pictures import ahead
from .prefixes import drawn_known

CHECK_EVERY = 50
"""Number of updates between two checks of the loss on devices where a check is expensive."""


@dataclass(frozen=True)
class TrainState:
    """State of a training between two updates.

    Attributes:
        step: Number of updates done.
        parameters: Current parameters.
        average: Exponential moving average of the parameters, which is deployed.
        moments: State of AdamW.
        loss: Loss before the last update; NaN before the first update.
        fixed: Constants of the model: weights of frozen encoders, and means and variances of batch normalisation.
        waited: Seconds for which updates have waited for pictures since the training began or was resumed [s].
    """

    step: int
    parameters: Parameters
    average: Parameters
    moments: Moments
    loss: torch.Tensor
    waited: float = 0.0
    fixed: Parameters = field(default_factory=lambda: Parameters())


def initial_state(recipe: Recipe, data: TrainingSet) -> TrainState:
    """Initial weights from the recipe's seed, on the device of the data; the global generator is not changed.

    Raises:
        RecipeError: The data were prepared for a policy of other sizes.
    """
    spec, sizes = recipe.policy, (data.observations.vector.shape[-1], data.codes.shape[-1])
    expected = (spec.n_encoded, width(spec.codec, spec.n_states, spec.n_actions))
    if sizes != expected:
        raise RecipeError(
            f"expected a training set with observations of {expected[0]} and codes of {expected[1]} numbers, got "
            f"{sizes[0]} and {sizes[1]}. Prepare the data with this recipe: prepare(recipe, episodes)."
        )
    seed = stream(recipe.seed, "weights").initial_seed()
    model, device = build_model(recipe.policy, seed=seed, tokenizer=data.tokenizer), data.device
    if isinstance(model, Pictured) and data.encoders is not None:
        model.cameras.load_state_dict(data.encoders.state_dict())
    _take_text_features(model, data)
    parameters = {name: value.detach().clone().to(device) for name, value in model.named_parameters()}
    rest = {name: value for name, value in model.state_dict().items() if name not in parameters}
    return TrainState(
        step=0,
        parameters=parameters,
        average={name: value.clone() for name, value in parameters.items()},
        moments=zero_moments(parameters),
        loss=torch.tensor(float("nan"), device=device),
        fixed={name: value.detach().clone().to(device) for name, value in rest.items()},
    )


def _take_text_features(model: ChunkModel, data: TrainingSet) -> None:
    follows = instructed_in(model)
    if follows is None or not follows.language.n_text_features:
        return
    if data.text_features is None:
        raise RecipeError(
            f"the recipe names the text encoder {follows.language.text_encoder or 'without a name'}, but the training "
            "set has no features of the instructions. Give them: --text-encoder FOLDER, or in Python "
            "prepare(recipe, episodes, text_features=…)."
        )
    follows.instructions.take(data.text_features)


def train(recipe: Recipe, data: TrainingSet, state: TrainState, *, compiled: bool = False) -> Iterator[TrainState]:
    """Train from a state to the end of the recipe; yields the state after each update.

    Successive states share their tensors, which are written in place: copy what must outlast the next update.

    Args:
        recipe: Recipe of the training.
        data: Training set.
        state: Initial state.
        compiled: Compile the loss (`torch.compile`) at the first update, which takes up to a minute and changes the
            last bits. A loss that cannot be compiled runs eagerly, with a `CompileWarning`.

    Raises:
        DivergedError: The loss is not finite.
    """
    device = data.device
    model = build_model(recipe.policy, tokenizer=data.tokenizer).to(device)
    model.load_state_dict(state.fixed, strict=False)
    compiled_on = device if compiled and _compiles(data) else None
    differentiated = gradients_of(model, recipe.training.precision, compiled_on=compiled_on)
    with ahead(data.cameras, _windows(recipe, data, state.step)) as coming:
        while state.step < recipe.training.steps:
            pictures = None if coming is None else coming.next(device)
            loss = _update(recipe, data, model, differentiated, state, pictures)
            # a check after every update would synchronise with the GPU
            if (loss.device.type == "cpu" or state.step % CHECK_EVERY == 0) and not bool(loss.isfinite()):
                raise _diverged(recipe, data, state.step, loss)
            waited = 0.0 if coming is None else coming.waited
            state = replace(state, step=state.step + 1, loss=loss, waited=waited)
            yield state


def train_to_end(recipe: Recipe, data: TrainingSet) -> TrainState:
    """Train to the end of the recipe and return the last state."""
    state = initial_state(recipe, data)
    for following in train(recipe, data, state):
        state = following
    return state


def _compiles(data: TrainingSet) -> bool:
    """Whether the loss can be compiled; warns if not."""
    if data.tokenizer is None and data.tasks is None:
        return True
    what = "token families depends on values" if data.tokenizer is not None else "instructions depends on texts"
    warnings.warn(f"the loss of {what} and cannot be compiled: it is evaluated eagerly.", CompileWarning, stacklevel=3)
    return False


def _windows(recipe: Recipe, data: TrainingSet, step: int) -> Iterator[torch.Tensor]:
    """Rows of the observation windows of an update and of all later ones."""
    for later in range(step, recipe.training.steps):
        yield data.windows.observation_rows(_drawn(recipe, data, later)[0]).cpu()


def _update(
    recipe: Recipe,
    data: TrainingSet,
    model: ChunkModel,
    differentiated: Differentiated,
    state: TrainState,
    pictures: Mapping[str, torch.Tensor] | None,
) -> torch.Tensor:
    options = recipe.training
    now, rng = _drawn(recipe, data, state.step)
    batch = data.batch(now, sigma=options.sigma_train, rng=rng, law=options.noise_law, pictures=pictures)
    draws = model.draw(batch.chunk.shape, rng=rng)
    batch = replace(batch, known=drawn_known(options.prefix_delays, len(now), rng=rng))
    return train_step(
        differentiated, state.parameters, state.moments, state.average, batch, draws, step=state.step, options=options
    )


def _drawn(recipe: Recipe, data: TrainingSet, step: int) -> tuple[torch.Tensor, torch.Generator]:
    """Rows of an update's windows, and the random generator of its further draws."""
    rng = stream(recipe.seed, "update", step, device=data.device)
    return data.draw(recipe.training.batch_size, rng), rng


def _diverged(recipe: Recipe, data: TrainingSet, step: int, loss: torch.Tensor) -> DivergedError:
    now, _ = _drawn(recipe, data, step)
    ends = data.windows.lengths.cumsum(0)
    episodes = torch.searchsorted(ends, now, right=True)
    steps = now - (ends - data.windows.lengths)[episodes]
    places = ", ".join(f"{int(e)}:{int(t)}" for e, t in zip(episodes[:5], steps[:5], strict=True))
    return DivergedError(
        f"the loss of update {step} is {float(loss)}. Its batch has {len(now)} windows, the first (episode:step) "
        f"{places}. The last checkpoint is kept. Lower the learning rate (now {recipe.training.learning_rate:g}), or "
        "look for extreme values with: holdfast inspect"
    )


@torch.no_grad()
def held_out_loss(recipe: Recipe, held_out: TrainingSet, state: TrainState, *, windows: int = 1024) -> float:
    """Loss of the EMA weights on windows of held-out episodes; every call uses the same windows and noise."""
    rng = stream(recipe.seed, "held out", device=held_out.device)
    now = torch.randint(len(held_out), (windows,), generator=rng, device=rng.device)
    batch = held_out.batch(now, sigma=recipe.training.sigma_train, rng=rng, law=recipe.training.noise_law)
    model = planner_of(recipe, held_out, state).model
    draws = model.draw(batch.chunk.shape, rng=rng)
    known = drawn_known(recipe.training.prefix_delays, windows, rng=rng)
    return float(model.loss(replace(batch, known=known), draws))


def planner_of(recipe: Recipe, data: TrainingSet, state: TrainState) -> Planner:
    """Planner of a training state: its EMA weights with the scales of the data."""
    model = build_model(recipe.policy, tokenizer=data.tokenizer)
    model.load_state_dict({name: value.clone() for name, value in (state.average | state.fixed).items()})
    delays = tuple(sorted({*recipe.training.prefix_delays}))
    return Planner(
        recipe.policy,
        model.to(data.device).eval(),
        observation_scale=data.observation_scale,
        code_scale=data.code_scale,
        interface=None if data.interface is None else replace(data.interface, prefix_delays=delays),
    )
