"""Planner = scale ∘ model ∘ codec: from observation windows to composite actions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..data import MinMax, decode, width
from ..errors import RecipeError, ShapeError
from ..models import ChunkModel, Instructed, Pictured, Sizes, Wrapping, generator_of
from ..nn import Language
from ..nn.language import NONE
from ..rotations import encoded
from ..tokens import Tokenizer
from ..types import Observation, Prefix, PrimitiveControllers
from .base import PolicySpec
from .interface import PolicyInterface


def build_model(spec: PolicySpec, *, seed: int = 0, tokenizer: Tokenizer | None = None) -> ChunkModel:
    """Untrained generative model of a policy; PyTorch's global random generator is not changed."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        return _built(spec, tokenizer)
    finally:
        torch.set_rng_state(before)


def blank_model(spec: PolicySpec, *, tokenizer: Tokenizer | None = None) -> ChunkModel:
    """Model whose weights hold anything, in a tenth of the time, for weights that replace all of them."""
    with _WithoutDraws():
        return _built(spec, tokenizer)


def _built(spec: PolicySpec, tokenizer: Tokenizer | None) -> ChunkModel:
    if spec.vision is not None:
        return Pictured(spec.vision, spec.model, sizes_of(spec), tokenizer, spec.language)
    if spec.language is not None:
        return Instructed(spec.language, spec.model, sizes_of(spec), tokenizer)
    return spec.model.build(sizes_of(spec), tokenizer=tokenizer)


class _WithoutDraws(TorchFunctionMode):
    """Context in which random initial values are not drawn, which takes most of the time of building a model."""

    DRAWS = frozenset(
        {
            torch.nn.init.kaiming_uniform_,
            torch.nn.init.uniform_,
            torch.nn.init.normal_,
            torch.Tensor.uniform_,
            torch.Tensor.normal_,
        }
    )

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The result of a function of PyTorch, or the tensor that would have been filled."""
        named = kwargs or {}
        if func in self.DRAWS:
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def sizes_of(spec: PolicySpec) -> Sizes:
    """Sizes of a policy's chunks and of the windows that its generative model sees."""
    return Sizes(
        horizon=spec.horizon,
        width=width(spec.codec, spec.n_states, spec.n_actions),
        n_obs_steps=spec.n_obs_steps,
        n_observed=spec.n_seen,
        n_readings=spec.n_readings,
    )


def blank_window(spec: PolicySpec) -> Observation:
    """A normalised window `[1, o, ·]` of zeros, with black pictures and without an instruction."""
    shape = 1, spec.n_obs_steps
    views = () if spec.vision is None else spec.vision.views
    images = {view.camera: torch.zeros(*shape, *view.size, view.channels, dtype=torch.uint8) for view in views}
    task = None if spec.language is None else (NONE,)
    return Observation(state=torch.zeros(*shape, spec.n_encoded), images=images, task=task)


def with_language(planner: "Planner", language: Language, further: Mapping[str, Tensor] | None = None) -> "Planner":
    """The planner with other options of its instructions, and weights shared with it, some of which may be replaced."""
    spec = replace(planner.spec, language=language)
    model = blank_model(spec, tokenizer=planner.model.tokenizer)
    model.load_state_dict({**planner.model.state_dict(), **(further or {})}, assign=True)
    device = next(planner.model.parameters()).device
    return replace(planner, spec=spec, model=model.to(device).eval())


@dataclass(frozen=True)
class Planner:
    """Trained generative model with its scales and codec.

    Attributes:
        spec: Specification of the policy.
        model: Generative model.
        observation_scale: Scale of observations.
        code_scale: Scale of codes.
        interface: What the policy was trained on, if it is known.
        instruction: Instruction of observations that carry none, for a policy that follows instructions.
    """

    spec: PolicySpec
    model: ChunkModel
    observation_scale: MinMax
    code_scale: MinMax
    interface: PolicyInterface | None = None
    instruction: str | None = None

    @property
    def generator(self) -> ChunkModel:
        """The model that generates chunks from windows of numbers, without the encoders of pictures."""
        return generator_of(self.model)

    @property
    def prefix_delays(self) -> tuple[int, ...]:
        """Numbers of first steps of a running plan that the policy has learned to continue; empty for all others."""
        return () if self.interface is None else self.interface.prefix_delays

    @property
    def observation_range(self) -> MinMax:
        """Range of each coordinate of the observation as it is given, before rotations become six numbers.

        Raises:
            RecipeError: The policy encodes rotations, and its interface is not known.
        """
        if not self.spec.observed_rotations:
            return self.observation_scale
        if self.interface is None:
            raise RecipeError(
                "the range of observations with rotations is stored in the interface, which this policy lacks."
            )
        seen = self.interface.observation
        like = self.observation_scale.low
        return MinMax(low=torch.tensor(seen.low).to(like), high=torch.tensor(seen.high).to(like))

    def normalize(self, window: Observation) -> Observation:
        """Windows with normalised readings, rotations among them as six numbers."""
        vector = window.vector
        if vector.shape[-1] != self.spec.n_observed:
            raise ShapeError(
                f"expected observations of {self.spec.n_observed} numbers, as in training, got {vector.shape[-1]}."
            )
        encoding = encoded(vector, self.spec.observed_rotations)
        return window.with_vector(self.observation_scale.normalize(encoding))

    def plan(self, window: Observation, *, rng: torch.Generator, prefix: Prefix | None = None) -> PrimitiveControllers:
        """One composite action `[b, h]` for each window."""
        return self.plan_normalized(self.normalize(window), rng=rng, prefix=prefix)

    def plan_normalized(
        self, window: Observation, *, rng: torch.Generator, prefix: Prefix | None = None
    ) -> PrimitiveControllers:
        """The composite action `[b, h]` for each window that is normalised already."""
        code = self.model.sample(self.model_input(window), rng=rng, prefix=prefix)
        return self.controllers(code, like=window.vector)

    def seen(self, window: Observation) -> Observation:
        """Normalised windows with features in place of pictures and instructions, in the precision of the readings."""
        if not isinstance(self.model, Wrapping):
            return window
        found = self.model.seen(self.model_input(window)).state
        unread = isinstance(self.model, Pictured) and self.model.vision.readings == "none"
        readings = window.vector[..., :0] if unread else window.vector
        added = found[..., readings.shape[-1] :].to(window.vector)
        return Observation(state=torch.cat([readings, added], -1))

    def model_input(self, window: Observation) -> Observation:
        """Normalised windows on the device and in the precision of the model's weights."""
        return window.to(next(self.model.parameters()))

    def controllers(self, code: Float[Tensor, "b h w"], *, like: Tensor) -> PrimitiveControllers:
        """Composite actions of sampled codes, in the precision and on the device of `like`."""
        # a coordinate that never changed in training has no range: any generated value is an error
        code = code.masked_fill(self.code_scale.constant.to(code.device), 0.0)
        # in the precision of the caller: float32 would round gains that multiply small differences
        physical = self.code_scale.denormalize(code.to(like))
        return decode(self.spec.codec, physical, n_states=self.spec.n_states, n_actions=self.spec.n_actions)
