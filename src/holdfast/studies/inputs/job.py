"""Trainings of study inputs and their rollouts.

    raw         pictures ──► encoder, trained with the policy
    frozen      pictures ──► pre-trained encoder, whose weights never change
    fine-tuned  pictures ──► pre-trained encoder, trained on at a tenth of the policy's learning rate
    state       the block's keypoints, as the simulator knows them
    explicit    pictures ──► estimator of the keypoints ──► policy of states, trained with
                    none        no noise on its observations
                    isotropic   noise of equal size in all coordinates, with the trace of
                    matched     noise of the law of the estimator's errors

All trainings have the same number of updates and of chunks in an update (256 draws), the same family and the same
network behind the inputs. The three policies of states of one seed share their estimator.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from time import perf_counter
from typing import Any, Literal, TypeAlias

from torch import Tensor

from ...data import Isotropic, Selection, read
from ...envs import FIRST_UNTOUCHED_SEED, Environment, Estimated, make_environment, rollout
from ...envs.pusht import PushT
from ...errors import DataError, UnknownNameError
from ...evaluation import scores_of
from ...learn import (
    choose_episodes,
    default_recipe,
    errors_of,
    estimator_recipe,
    planner_of,
    prepare,
    train_to_end,
    vision_of,
    with_estimator_noise,
)
from ...nn import Cameras, FromFile, encoders_with, read_encoder
from ...policy import Estimator, Policy
from ...recipe import Recipe
from ...types import Episodes
from ..engine.jobs import key_of
from .changes import CHANGES, Changed

Input: TypeAlias = Literal["raw", "frozen", "fine-tuned", "explicit", "state"]
INPUTS: tuple[Input, ...] = ("raw", "frozen", "fine-tuned", "explicit", "state")
PRETRAINED = ("frozen", "fine-tuned")
"""Inputs whose encoder starts from the weights of a file."""
NOISES = ("none", "isotropic", "matched")
"""Noise in the training of the policies of states that act on estimates."""
CAMERA = "img"
SELECTION = Selection(estimate=("observation.environment_state",))
"""What the estimator finds: the block's keypoints."""


@dataclass(frozen=True)
class InputsJob:
    """One seed of one kind of input.

    Attributes:
        seen: Kind of input.
        updates: Updates of each training.
        starts: Number of starts.
        changes: Changes of the pictures at deployment.
        data: Demonstrations of Push-T.
        encoder: Name of the pre-trained encoder; empty for inputs without one.
        weights: File of its weights.
    """

    seen: Input
    seed: int
    updates: int
    starts: int
    changes: tuple[str, ...]
    data: str
    encoder: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        if unknown := [name for name in self.changes if name not in CHANGES]:
            raise UnknownNameError("change of the pictures", unknown[0], CHANGES)

    @property
    def key(self) -> str:
        # the places of files are no settings; a study's folder belongs to one data set and one file of weights
        return key_of(f"{self.seen}-seed{self.seed}", replace(self, data="", weights=""), FIRST_UNTOUCHED_SEED)


@dataclass(frozen=True)
class Cell:
    """Episodes of one policy under one change of the pictures.

    Attributes:
        arm: Kind of input; of explicit ones, with the noise of the policy's training.
        change: Change of the pictures at deployment.
        score: Largest coverage of each episode, divided by 0.95 and at most 1.
        train_seconds: Duration of all trainings behind the policy [s].
        error: Root mean square error of the estimated keypoints on held-out episodes [px].
    """

    arm: str
    change: str
    score: list[float]
    train_seconds: float
    error: float | None = None


def work(job: InputsJob) -> list[dict[str, Any]]:
    """All cells of a job, as plain values."""
    made = _explicit(job) if job.seen == "explicit" else _single(job)
    return [asdict(cell) for cell in made]


def recipes_of(job: InputsJob) -> dict[str, Recipe]:
    """Recipes of the trainings of a job that do not depend on another training."""
    episodes = demonstrations(job.data, estimate=False)
    match job.seen:
        case "raw":
            return {"raw": _settled(default_recipe(episodes, vision=vision_of(episodes, [CAMERA])), job)}
        case "frozen" | "fine-tuned":
            return {job.seen: _pretrained(job, episodes)[0]}
        case "state":
            return {"state": _settled(default_recipe(episodes), job)}
        case "explicit":
            vision = replace(vision_of(episodes, [CAMERA], readings="none"), noises=1, sigma_train=0.0)
            found = estimator_recipe(demonstrations(job.data, estimate=True), vision)
            return {"estimator": _settled(replace(found, selection=SELECTION), job)}


def _pretrained(job: InputsJob, episodes: Episodes) -> tuple[Recipe, Cameras]:
    """Recipe of a policy with a pre-trained encoder, and the encoder with the weights of the file."""
    options, weights = _read(job.encoder, job.weights)
    vision = vision_of(episodes, [CAMERA], encoder=replace(options, frozen=job.seen == "frozen"))
    recipe = _settled(default_recipe(episodes, vision=vision), job)
    if job.seen == "fine-tuned":
        training = replace(recipe.training, encoder_learning_rate=recipe.training.learning_rate / 10)
        recipe = replace(recipe, training=training)
    return recipe, encoders_with(vision, weights)


@cache
def _read(encoder: str, weights: str) -> tuple[FromFile, dict[str, Tensor]]:
    return read_encoder(encoder, weights)


def _settled(recipe: Recipe, job: InputsJob) -> Recipe:
    training = replace(
        recipe.training, steps=job.updates, warmup_steps=min(recipe.training.warmup_steps, job.updates // 4)
    )
    return replace(recipe, training=training, seed=job.seed, data=job.data)


@cache
def demonstrations(place: str, *, estimate: bool) -> Episodes:
    """The demonstrations, or those of the estimator.

    Raises:
        DataError: They are not of Push-T, or lack its pictures.
    """
    episodes = read(place)
    if episodes.system != "pusht" or CAMERA not in episodes.cameras:
        raise DataError(
            f"expected demonstrations of Push-T with the camera {CAMERA} in {place}, got those of "
            f"{episodes.system or 'an unnamed task'} with the cameras {', '.join(episodes.cameras) or 'none'}."
        )
    return read(place, selection=SELECTION) if estimate else episodes


def _single(job: InputsJob) -> Iterator[Cell]:
    episodes = demonstrations(job.data, estimate=False)
    if job.seen in PRETRAINED:
        policy, seconds = _trained(*_pretrained(job, episodes), episodes=episodes)
    else:
        (recipe,) = recipes_of(job).values()
        policy, seconds = _trained(recipe, episodes=episodes)
    # a policy of states sees no pictures, so their changes change nothing
    for change in ("none",) if job.seen == "state" else job.changes:
        yield Cell(job.seen, change, _scores(job, policy, change, None), seconds)


def _explicit(job: InputsJob) -> Iterator[Cell]:
    (recipe,) = recipes_of(job).values()
    shown, seen = demonstrations(job.data, estimate=True), demonstrations(job.data, estimate=False)
    eyes, first = _trained(recipe, episodes=shown)
    estimator = Estimator(eyes)
    errors = errors_of(estimator, choose_episodes(recipe, shown)[1])
    matched = with_estimator_noise(_settled(default_recipe(seen), job), seen, errors)
    noises: Mapping[str, Recipe] = {
        "none": replace(matched, training=replace(matched.training, sigma_train=0.0, noise_law=Isotropic())),
        "isotropic": replace(matched, training=replace(matched.training, noise_law=Isotropic())),
        "matched": matched,
    }
    for noise in NOISES:
        policy, seconds = _trained(noises[noise], episodes=seen)
        for change in job.changes:
            score = _scores(job, policy, change, estimator)
            yield Cell(f"explicit, {noise}", change, score, first + seconds, float(errors.rms.mean()))


def _trained(recipe: Recipe, encoders: Cameras | None = None, *, episodes: Episodes) -> tuple[Policy, float]:
    started = perf_counter()
    data = prepare(recipe, episodes, encoders=encoders)
    planner = planner_of(recipe, data, train_to_end(recipe, data))
    return Policy(planner), perf_counter() - started


def _scores(job: InputsJob, policy: Policy, change: str, estimator: Estimator | None) -> list[float]:
    pictured = policy.spec.vision is not None or estimator is not None
    inner = make_environment("pusht", job.starts, images=pictured)
    environment: Environment = Changed(inner, change) if pictured and change != "none" else inner
    if estimator is not None:
        environment = Estimated(environment, estimator)
    starts = range(FIRST_UNTOUCHED_SEED, FIRST_UNTOUCHED_SEED + job.starts)
    try:
        found = rollout(policy, environment, starts=starts, seed=job.seed)
    finally:
        environment.close()
    assert isinstance(inner, PushT)
    score: Tensor = scores_of(found, inner)
    return [float(value) for value in score]
