"""Default recipes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import torch
from torch import Tensor

from ..control import MUJOCO_PREFIX, SYSTEMS, Tvlqr, system
from ..data import Actions, Affine, Codec, MinMax, ranges_of
from ..errors import RecipeError, UnknownNameError
from ..models import Diffusion, Regression, Sampler
from ..nn import (
    EncoderOptions,
    FilmMlp,
    FromFile,
    Language,
    ResidualMlp,
    SelfSupervised,
    SmallVit,
    View,
    Vision,
    encoder_named,
)
from ..nn.vision.towers import PretrainedTransformer
from ..policy import Execution, PolicySpec
from ..recipe import Recipe, Training
from ..types import Episodes
from .pictures import seen_of, without_cameras

Weights = tuple[tuple[float, ...], tuple[float, ...]]


def default_recipe(
    episodes: Episodes,
    *,
    gains: bool | None = None,
    vision: Vision | None = None,
    language: Language | None = None,
) -> Recipe:
    """Default recipe for a data set: HINT if the dynamics are known, action chunks otherwise.

    On built-in systems, gains are synthesised for the system's cost, and observations are noised in training and
    deployment. Elsewhere, actions are treated as targets of a servo, which then is the primitive controller (Block et
    al. 2023, arXiv 2307.14619, appendix E), and no gains are synthesised. The noise is smaller there.

    Args:
        episodes: Demonstrations.
        gains: Whether to learn primitive controllers with gains. Default: only on built-in systems.
        vision: What the policy sees of its cameras, as from `vision_of`. Default: no pictures.
        language: Instructions that the policy follows, as from `language_of`. Default: none.
    """
    episodes, known = seen_of(episodes, vision), episodes.system in SYSTEMS
    if known if gains is None else gains:
        recipe = _with_gains(episodes)
    else:
        recipe = _raw_actions(episodes) if known else _servo_targets(episodes)
    if language is not None:
        recipe = replace(recipe, policy=replace(recipe.policy, language=language))
    return recipe if vision is None else _with_pictures(recipe, vision)


def vision_of(
    episodes: Episodes,
    cameras: Sequence[str],
    *,
    encoder: str | EncoderOptions = "cnn",
    readings: Literal["robot", "all", "none"] = "robot",
    shared: bool = False,
) -> Vision:
    """The usual vision of a policy that sees pictures of cameras.

    Args:
        episodes: Demonstrations.
        cameras: Names of the cameras.
        encoder: Name of the encoder, or its options, as from `nn.read_encoder`.
        readings: Low-dimensional readings seen beside the pictures; see `Vision`.
        shared: One encoder for all cameras.

    Raises:
        UnknownNameError: No such camera or encoder.
        DataError: The data have no cameras.
        RecipeError: No cameras, or pictures that the encoder cannot encode.
    """
    views, options = list[View](), encoder_named(encoder) if isinstance(encoder, str) else encoder
    for camera in cameras:
        if not episodes.cameras:
            raise without_cameras(episodes, cameras)
        if camera not in episodes.cameras:
            raise UnknownNameError("camera", camera, episodes.cameras)
        views.append(_view(camera, episodes, options))
    same = len({(view.encoded, view.channels) for view in views}) == 1
    shared = shared or (same and isinstance(options, FromFile) and options.frozen)
    return Vision(views=tuple(views), encoder=options, readings=readings, shared=shared, sigma_train=0.02)


def _view(camera: str, episodes: Episodes, encoder: EncoderOptions) -> View:
    """The usual view; pre-trained transformers encode as many whole patches as there are."""
    depth = ranges_of(episodes).get(camera)
    view = View.of(camera, episodes.cameras[camera].shape)
    view = view if depth is None else replace(view, depth=(depth.near, depth.far))
    if isinstance(encoder, SelfSupervised) and encoder.size:
        # what was encoded in the pre-training, where that is within the picture
        fits = all(part <= side for part, side in zip(encoder.size, view.size, strict=True))
        return replace(view, crop=encoder.size) if fits else view
    if isinstance(encoder, SmallVit):
        # as many whole patches as there are in the usual crop, where that has any
        whole = tuple(side // encoder.patch * encoder.patch for side in view.encoded)
        return replace(view, crop=whole) if min(whole) else view
    if not isinstance(encoder, PretrainedTransformer):
        return view
    crop = tuple(side // encoder.patch * encoder.patch for side in view.size)
    if not min(crop):
        raise RecipeError(
            f"pictures of camera {camera} of {view.size[0]} × {view.size[1]} pixels are smaller than a patch of "
            f"{encoder.patch} × {encoder.patch} pixels. Choose another encoder."
        )
    return replace(view, crop=crop)


def _with_pictures(recipe: Recipe, vision: Vision) -> Recipe:
    """The recipe with pictures: smaller batches, because encoding takes most of the time of an update."""
    execution = replace(recipe.policy.execution, sigma_features=vision.sigma_train)
    training = replace(
        recipe.training,
        # on Push-T, scores of 0.96 and 0.88 with two seeds, after 40 minutes of one thread each
        steps=40_000,
        batch_size=64,
        precision="bfloat16" if computes_in_bfloat16() else "float32",
    )
    return replace(recipe, policy=replace(recipe.policy, vision=vision, execution=execution), training=training)


def estimator_recipe(episodes: Episodes, vision: Vision) -> Recipe:
    """Default recipe of an estimator: the mean of the coordinates given the pictures of one step.

    Nothing is noised, and no estimate is limited to the range of the training data. A tenth of the episodes is held
    out, by which the estimator's errors are measured.

    Args:
        episodes: Episodes whose actions are the coordinates, as from `read` with `Selection(estimate=…)`.
        vision: What the estimator sees of its cameras.
    """
    recipe = _with_pictures(_servo_targets(seen_of(episodes, vision)), vision)
    execution = replace(Execution(n_action_steps=1), sigma_features=vision.sigma_train)
    policy = replace(
        recipe.policy, model=Regression(network=ResidualMlp()), horizon=1, n_obs_steps=1, execution=execution
    )
    training = replace(recipe.training, steps=24_000, sigma_train=0.0)
    return replace(recipe, policy=policy, training=training, environment=None, held_out=0.1)


def _with_gains(episodes: Episodes) -> Recipe:
    state_weight, action_weight = _cost_weights(episodes)
    # in contact, the last linearisation of a simulated robot is not valid beyond the end
    terminal = "cost" if (episodes.system or "").startswith(MUJOCO_PREFIX) else "value"
    # clipped observations do not make the network extrapolate; the gains correct the rest
    execution = Execution(n_action_steps=4, sigma_deploy=0.1, clip_observation=1.0)
    network = FilmMlp(widths=(256, 128, 128, 64), activation="mish", linear_skip=True, bounded=False)
    return Recipe(
        policy=_spec(episodes, Affine(), horizon=8, network=network, execution=execution),
        synthesis=Tvlqr(state_weight=state_weight, action_weight=action_weight, terminal=terminal),
        training=Training(steps=4000, sigma_train=0.1),
        environment=episodes.system,
    )


def _raw_actions(episodes: Episodes) -> Recipe:
    network = FilmMlp(widths=(256,) * 4, activation="mish", linear_skip=True, bounded=False)
    # raw actions are not corrected between plans, so each is planned from the newest state
    spec = _spec(episodes, Actions(), horizon=8, network=network, execution=Execution(n_action_steps=1))
    return Recipe(policy=spec, training=Training(steps=4000), environment=episodes.system)


def _servo_targets(episodes: Episodes) -> Recipe:
    low, high = (tuple(float(v) for v in bound) for bound in (episodes.actions.amin(0), episodes.actions.amax(0)))
    # Chosen on Push-T, on 200 starts below the test seeds (standard error 0.012 to 0.017). Demonstrations have several
    # modes per observation, and few deterministic sampling steps average between them: score 0.91, against 0.93 with
    # 30 stochastic steps. A little noise helps: 0.94 in training alone, 0.95 as a replica. One observation is better
    # than two (0.93 against 0.90, without noise).
    execution = Execution(n_action_steps=10, sigma_deploy=0.02, action_low=low, action_high=high)
    sampler = Sampler(steps=30, eta=1.0)
    spec = _spec(episodes, Actions(), horizon=16, network=ResidualMlp(), execution=execution, sampler=sampler)
    training = Training(
        steps=16_000,
        batch_size=256,
        learning_rate=5e-4,
        warmup_steps=500,
        weight_decay=1e-4,
        ema_decay=0.9995,
        sigma_train=0.02,
        precision="bfloat16" if computes_in_bfloat16() else "float32",
    )
    return Recipe(policy=spec, training=training, environment=episodes.system)


def _cost_weights(episodes: Episodes) -> Weights:
    """Diagonals of the cost: that of a built-in system, or each coordinate in units of its half range."""
    if episodes.system == "avoid":
        # collisions depend on the actual position alone; weights on other coordinates would trade it off
        return (0.0, 0.0, 1.0, 1.0, 0.0, 0.0), (1.0, 1.0)
    if episodes.system in SYSTEMS:
        Q, R = system(episodes.system).weights()
        return _diagonal(Q.diagonal()), _diagonal(R.diagonal())
    scales = (MinMax.fit(values) for values in (episodes.states, episodes.actions))
    state, action = (_diagonal(scale.half.square().reciprocal()) for scale in scales)
    return state, action


def _diagonal(values: Tensor) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _spec(
    episodes: Episodes,
    codec: Codec,
    *,
    horizon: int,
    network: FilmMlp | ResidualMlp,
    execution: Execution,
    sampler: Sampler | None = None,
) -> PolicySpec:
    return PolicySpec(
        n_states=episodes.states.shape[1],
        n_actions=episodes.actions.shape[1],
        n_observed=episodes.observed.vector.shape[1],
        codec=codec,
        model=Diffusion(network=network, sampler=sampler or Sampler()),
        n_obs_steps=1,
        horizon=horizon,
        execution=execution,
    )


def computes_in_bfloat16() -> bool:
    """Whether this CPU has bfloat16 instructions; without them, float32 is faster."""
    ask = getattr(torch.cpu, "get_capabilities", None)
    told: Mapping[str, Any] = cast("Mapping[str, Any]", ask()) if ask else dict[str, Any]()
    return bool(told.get("avx512_bf16") or told.get("amx_bf16"))
