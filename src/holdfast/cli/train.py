"""`holdfast train`: demonstrations → run folder."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ..control import Dare, NoFeedback, Receding, Tvlqr
from ..data import read
from ..errors import DataError, RecipeError, RunError
from ..learn import clear_run, default_recipe, load_recipe, seed_folders, trained_on
from ..models import FAMILY_NAMES, Diffusion, Family, family_named, with_tokenizer
from ..nn import NETWORK_NAMES, network_named
from ..policy import Ensemble
from ..recipe import LearnedLinear, LearnedMlp, Recipe, Simulated
from ..tokens import TOKENIZER_NAMES, tokenizer_named
from ..types import Episodes
from .machine import threads_are_open, usable_device, use_threads
from .train_run import train_run
from .train_seeds import resume_seeds, seed_threads, train_seeds

__all__ = ["Train"]

if TYPE_CHECKING:
    FamilyName = NetworkName = TokenizerName = str
else:
    FamilyName, NetworkName, TokenizerName = map(
        tyro.extras.literal_type_from_choices, (FAMILY_NAMES, NETWORK_NAMES, TOKENIZER_NAMES)
    )


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
    """Run folder of a stopped training to go on with, or a folder that --seeds made, instead of DATA and --out."""
    seed: int = 0
    """Of the choice of episodes, the first weights, the batches and the noise."""
    seeds: int = 1
    """Trainings, of as many seeds from --seed on; above 1 they run as one program, and each leaves a run of its own in
    --out: seed0, seed1 and so on."""
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
    """Threads to train with. If OMP_NUM_THREADS does not say either, as many as are measured to be the fastest, for
    small networks lose by more than one; with --seeds one a seed, on all cores. A resumed training goes on with as many
    as it had. Sums over threads differ in their last bits: for equal bits in every run, say how many."""
    compile: bool = False
    """Compile the loss with torch.compile, which takes up to a minute and asks for a C++ compiler (on a graphics card,
    Triton): for long trainings of small networks, and on a card. What cannot be compiled runs as it is."""
    overwrite: bool = False
    """Replace a run that lies in the folder."""

    def run(self) -> None:
        """Train to the end, or to Ctrl-C."""
        if self.resume is not None:
            self._resume(self.resume)
            return
        if self.data is None or self.out is None:
            raise RecipeError("expected DATA and --out RUN, or --resume RUN.")
        if self.seeds < 1:
            raise RecipeError(f"expected --seeds of at least 1, got {self.seeds}.")
        device = usable_device(self.device or "cpu")
        use_threads(seed_threads(self.seeds, device=device) if self.threads is None else self.threads)
        episodes = read(self.data)
        recipe = self.recipe(episodes)
        if self.seeds > 1:
            train_seeds(
                recipe,
                self.seeds,
                episodes,
                self.out,
                overwrite=self.overwrite,
                device=device,
                compiled=self.compile,
            )
            return
        clear_run(self.out, overwrite=self.overwrite)
        open_threads = threads_are_open(self.threads, device=device)
        train_run(
            recipe,
            episodes,
            self.out,
            resume=False,
            device=device,
            compiled=self.compile,
            any_threads=open_threads,
        )

    def _resume(self, folder: Path) -> None:
        kept = {"resume", "device", "threads"}
        given = [f.name for f in fields(self) if f.name not in kept and getattr(self, f.name) != f.default]
        if given:
            raise RecipeError(
                f"--resume {folder} goes on with the run's own data and recipe. Leave away: {', '.join(given)}."
            )
        if (seeds := seed_folders(folder)) and not (folder / "recipe.json").is_file():
            resume_seeds(seeds, threads=self.threads, device=self.device)
            return
        recipe = load_recipe(folder)
        if not recipe.data:
            raise RunError(f"{folder} was trained on arrays, not on stored data. Go on with fit(..., resume=True).")
        before = trained_on(folder)
        if self.threads is not None or len(seed_folders(folder.parent)) < 2:
            # several seeds have a thread each, so one that goes on alone needs no more
            use_threads(before.threads if self.threads is None else self.threads)
        try:
            episodes = read(Path(recipe.data))
        except DataError as error:
            raise DataError(f"{error} (the demonstrations of {folder})") from error
        device = usable_device(self.device or before.device)
        train_run(recipe, episodes, folder, resume=True, device=device, compiled=before.compiled)

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
        family = family_named(self.family or "diffusion", network)
        if isinstance(family, Diffusion) and isinstance(default, Diffusion):
            family = replace(family, sampler=default.sampler)
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
