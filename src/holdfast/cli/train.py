"""`holdfast train`: demonstrations → run folder."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from torch import Tensor

from ..control import Dare, NoFeedback, Receding, Tvlqr
from ..data import Actions, Affine, describe_constants, read
from ..errors import DataError, RecipeError, RunError
from ..learn import (
    FamilyName,
    NetworkName,
    TokenizerName,
    clear_run,
    default_recipe,
    family_named,
    fit,
    load_recipe,
    network_named,
    prepare,
    prepare_held_out,
    simulated,
    tokenizer_named,
    trained_on,
    with_tokenizer,
)
from ..models import Diffusion, Family, tokenizer_options
from ..policy import Ensemble
from ..recipe import LearnedLinear, LearnedMlp, Recipe, Simulated
from ..tokens import load_tokenizer
from ..types import Episodes
from .console import console, name_files, stages
from .machine import usable_device, use_threads

__all__ = ["Train"]


@dataclass(frozen=True)
class Train:
    """Train a policy on demonstrations, or go on with a training that was stopped.

    What is not given comes from a recipe that suits the data: affine controllers with noise in training and deployment
    where the dynamics are known, chunks of actions where they are not.
    """

    data: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")] = None
    """Demonstrations: a data set of any known format (LeRobot, robomimic, zarr, Minari, npz, Holdfast's own), or the
    id of one on the Hugging Face Hub."""
    out: Path | None = None
    """Run folder to make."""
    resume: Path | None = None
    """Run folder of a stopped training to go on with, instead of DATA and --out."""
    seed: int = 0
    """Of the choice of episodes, the first weights, the batches and the noise."""
    steps: int | None = None
    """Updates."""
    batch_size: int | None = None
    """Windows an update."""
    learning_rate: float | None = None
    """Largest learning rate."""
    demos: int | None = None
    """Train on this many episodes, drawn by the seed; all that are not held out by default."""
    held_out: float | None = None
    """Share of episodes to keep out of training; their loss is noted in metrics.jsonl at every checkpoint."""
    family: FamilyName | None = None
    """Generative family; diffusion if nothing is said. docs/choose.md compares them."""
    network: NetworkName | None = None
    """What the family is built around, where it does not bring its own."""
    tokenizer: TokenizerName | None = None
    """How chunks become tokens, for the families tokens and autoregressive."""
    codec: Literal["actions", "affine"] | None = None
    """What a chunk holds: actions alone, or primitive controllers (ū, x̄, K)."""
    synthesis: Literal["tvlqr", "dare", "receding", "none"] | None = None
    """How gains are made; needs dynamics."""
    dynamics: Literal["simulated", "linear", "mlp"] | None = None
    """What gains are made for: the system that the data name, or dynamics learned from the data, locally linear or by
    networks."""
    exploration: Path | None = None
    """A data set with perturbed actions, from which, beside DATA, dynamics are learned."""
    sigma_train: float | None = None
    """Std of the noise on normalised observations in training."""
    sigma_deploy: float | None = None
    """The same at deployment; as in training (the replica policy) if nothing is said."""
    horizon: int | None = None
    """Steps in a planned chunk."""
    n_action_steps: int | None = None
    """Steps executed before the next plan."""
    n_obs_steps: int | None = None
    """Observations in a window."""
    save_every: int | None = None
    """Updates between checkpoints."""
    precision: Literal["float32", "bfloat16"] | None = None
    """Of the matrix products in training."""
    device: str | None = None
    """Where to train: cpu or cuda; a resumed training goes on where it was."""
    threads: int | None = None
    """Threads to train with, one if neither this nor OMP_NUM_THREADS says more; more pay off from 512 units on. A
    resumed training goes on with as many as it had."""
    overwrite: bool = False
    """Replace a run that lies in the folder."""

    def run(self) -> None:
        """Train to the end, or to Ctrl-C."""
        if self.resume is not None:
            self._resume(self.resume)
            return
        if self.data is None or self.out is None:
            raise RecipeError("expected DATA and --out RUN, or --resume RUN.")
        use_threads(self.threads)
        episodes = read(self.data)
        recipe = self.recipe(episodes)
        device = usable_device(self.device or "cpu")
        clear_run(self.out, overwrite=self.overwrite)
        _fit(recipe, episodes, self.out, resume=False, device=device)

    def _resume(self, folder: Path) -> None:
        kept = {"resume", "device", "threads"}
        given = [f.name for f in fields(self) if f.name not in kept and getattr(self, f.name) != f.default]
        if given:
            raise RecipeError(
                f"--resume {folder} goes on with the run's own data and recipe. Leave away: {', '.join(given)}."
            )
        recipe = load_recipe(folder)
        if not recipe.data:
            raise RunError(f"{folder} was trained on arrays, not on stored data. Go on with fit(..., resume=True).")
        device, threads = trained_on(folder)
        use_threads(self.threads or threads)
        try:
            episodes = read(Path(recipe.data))
        except DataError as error:
            raise DataError(f"{error} (the demonstrations of {folder})") from error
        _fit(recipe, episodes, folder, resume=True, device=usable_device(self.device or device))

    def gains(self) -> bool | None:
        """Whether gains were asked for; `None` if nothing was said."""
        said = {self.codec == "affine"} if self.codec else set[bool]()
        said |= {self.synthesis != "none"} if self.synthesis else set()
        if len(said) == 2:
            raise RecipeError(
                f"--codec {self.codec} and --synthesis {self.synthesis} contradict each other: the codec affine holds "
                "synthesised gains, the codec actions holds none. Leave one of them away."
            )
        return said.pop() if said else None

    def recipe(self, episodes: Episodes) -> Recipe:
        """The data's default recipe with what was given in its place."""
        recipe = default_recipe(episodes, gains=self.gains())
        data = self.data or Path()
        # a name on the Hub is no path, and must stay a name to be found again
        recipe = replace(recipe, data=str(data.resolve() if data.exists() else data), seed=self.seed)
        recipe = replace(recipe, **_given(n_demos=self.demos, held_out=self.held_out))
        training = _given(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            sigma_train=self.sigma_train,
            save_every=self.save_every,
            precision=self.precision,
        )
        # the replica policy, unless deployment is spoken of: training noise alone is for comparisons
        sigma_deploy = self.sigma_train if self.sigma_deploy is None else self.sigma_deploy
        execution = _given(n_action_steps=self.n_action_steps, sigma_deploy=sigma_deploy)
        if self.family == "act":
            execution |= {"ensemble": Ensemble()}
        spec = recipe.policy
        spec = replace(
            spec,
            execution=replace(spec.execution, **execution),
            **_given(horizon=self.horizon, n_obs_steps=self.n_obs_steps),
        )
        spec = replace(spec, model=self._model(spec.model))
        synthesis = _synthesis(self.synthesis, recipe.synthesis)
        recipe = replace(recipe, policy=spec, synthesis=synthesis, training=replace(recipe.training, **training))
        return replace(recipe, dynamics=self._dynamics(recipe))

    def _model(self, default: Family) -> Family:
        """The family that was asked for, around the network that was asked for, else around the default's."""
        suits = default.network if isinstance(default, Diffusion) else network_named("residual-mlp")
        network = network_named(self.network) if self.network else suits
        sampler = default.sampler if isinstance(default, Diffusion) else None
        family = family_named(self.family or "diffusion", network, sampler=sampler)
        return with_tokenizer(family, tokenizer_named(self.tokenizer)) if self.tokenizer else family

    def _dynamics(self, recipe: Recipe) -> Simulated | LearnedLinear | LearnedMlp:
        learned = self.dynamics in ("linear", "mlp")
        if (self.dynamics or self.exploration) and isinstance(recipe.synthesis, NoFeedback):
            raise RecipeError("--dynamics and --exploration are for gains: give --synthesis tvlqr beside them.")
        if self.exploration and not learned:
            raise RecipeError("--exploration is for learned dynamics: give --dynamics linear or mlp beside it.")
        explored = str(self.exploration.resolve()) if self.exploration else ""
        match self.dynamics:
            case "linear":
                return LearnedLinear(exploration=explored)
            case "mlp":
                return LearnedMlp(exploration=explored)
            case _:
                return Simulated()


def _given(**options: float | int | str | None) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _synthesis(name: str | None, default: Tvlqr | Dare | Receding | NoFeedback) -> Tvlqr | Dare | Receding | NoFeedback:
    if isinstance(default, NoFeedback):
        return default
    match name:
        case "dare":
            return Dare(default.state_weight, default.action_weight)
        case "receding":
            return Receding(default.state_weight, default.action_weight)
        case _:
            return default


def names_of(episodes: Episodes, codec: Actions | Affine) -> dict[str, list[str]]:
    """What the coordinates of observations and codes are called."""
    observed = episodes.observed
    parts = {"observation.state": observed.state, "observation.environment_state": observed.environment_state}
    seen = [name for part, values in parts.items() if values is not None for name in _names(episodes, part, values)]
    actions = _names(episodes, "action", episodes.actions)
    states = _names(episodes, "state", episodes.states)
    gains = [f"gain of {action} on {state}" for action in actions for state in states]
    affine = [*actions, *(f"reference {name}" for name in states), *gains]
    return {"observation": seen, "chunk": actions if isinstance(codec, Actions) else affine}


def _names(episodes: Episodes, quantity: str, values: Tensor) -> list[str]:
    """The data's own names; those of the system where the data have none; numbers where nobody knows."""
    of_system = {"action": "action_names", "state": "state_names", "observation.state": "state_names"}
    known = episodes.names.get(quantity) or getattr(simulated(episodes.system), of_system.get(quantity, ""), ())
    return list(known) if len(known) == values.shape[1] else [f"{quantity} {i}" for i in range(values.shape[1])]


def _fit(recipe: Recipe, episodes: Episodes, folder: Path, *, resume: bool, device: str) -> None:
    tokens = tokenizer_options(recipe.policy.model) is not None
    tokenizer = load_tokenizer(folder / "tokenizer.safetensors") if resume and tokens else None
    data = prepare(recipe, episodes, device=device, tokenizer=tokenizer)
    for name, scale in {"observation": data.observation_scale, "chunk": data.code_scale}.items():
        for sentence in describe_constants(scale, names_of(episodes, recipe.policy.codec)[name]):
            console.print(f"{name}: {sentence}", soft_wrap=True, markup=False)
    console.print(
        f"{len(data.windows.lengths)} episodes, {len(data)} steps; "
        f"{type(recipe.policy.codec).__name__} chunks of {recipe.policy.horizon} steps, "
        f"{type(recipe.synthesis).__name__}, sigma {recipe.training.sigma_train:g} in training, "
        f"{recipe.policy.execution.sigma_deploy:g} at deployment"
    )
    with stages() as stage:
        advance = stage("training", recipe.training.steps)
        state = fit(
            recipe,
            data,
            folder,
            resume=resume,
            held_out=prepare_held_out(recipe, episodes, data),
            on_step=lambda state: advance(state.step),
        )
    console.print(f"step {state.step}, loss {float(state.loss):.5f}")
    name_files(folder)
    console.print(f"next: holdfast evaluate {folder} --episodes 50", soft_wrap=True)
