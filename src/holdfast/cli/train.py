"""`holdfast train`: demonstrations → run folder."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ..data import read
from ..errors import DataError, RecipeError, RunError
from ..learn import clear_run, load_recipe, seed_folders, trained_on
from ..models import FAMILY_NAMES
from ..nn import NETWORK_NAMES
from ..policy import Ensemble
from ..recipe import Recipe
from ..tokens import TOKENIZER_NAMES
from ..types import Episodes
from .machine import threads_are_open, usable_device, use_threads
from .options import one_of, option
from .train_recipe import changed_recipe, combined, dynamics_for, model_for, read_changes, synthesis_for
from .train_run import train_run
from .train_seeds import resume_seeds, seed_threads, train_seeds

__all__ = ["Train"]


@dataclass(frozen=True)
class Train:
    """Train a policy on demonstrations, or resume a stopped training.

    Options that are not given come from a default recipe for the data, and recipe.json in the run folder records what
    was used. For data of a built-in system (double_integrator, quadrotor2d, scalar), whose dynamics are known, the
    policy clones chunks of feedback gains (HINT), with noise on the observations in training and at deployment. For
    other data it clones chunks of actions. docs/choose.md helps with the choice of a family, a network and noise.
    """

    data: Annotated[Path | None, tyro.conf.Positional, option("[DATA]", "required unless --resume is given")] = None
    """Demonstrations: file or folder of a data set (LeRobot, robomimic, zarr, Minari, npz or Holdfast's own format), or
    the id of a LeRobot data set on the Hugging Face Hub (owner/name)."""
    out: Annotated[Path | None, option("RUN", "required unless --resume is given")] = None
    """Run folder to create."""
    resume: Annotated[Path | None, option("RUN", "default: start a new training")] = None
    """Run folder of a stopped training to continue, or a folder of several seeds, in place of DATA and --out."""
    recipe: Annotated[Path | None, option("FILE", "default: the recipe that suits the data")] = None
    """JSON file with any fields of a recipe, nested as in recipe.json, for example {"training": {"weight_decay":
    0.0001}}; a whole recipe.json works too. Options given here override the file. Use it for settings without an option
    of their own, such as widths of networks, weight decay and clipping."""
    seed: Annotated[int | None, option("INT", "default: the recipe file's, else 0")] = None
    """Random seed for episode selection, initialization, batches and noise."""
    seeds: int = 1
    """Number of seeds to train, starting at --seed. Several seeds are trained together as one program, which is faster
    than one after the other; each gets its own run folder in --out: seed0, seed1 and so on."""
    steps: Annotated[int | None, option("INT", "default: 4000 for a built-in system or with gains, else 16000")] = None
    """Number of parameter updates."""
    batch_size: Annotated[int | None, option("INT", "default: 128 for a built-in system or with gains, else 256")] = (
        None
    )
    """Batch size (windows per update)."""
    learning_rate: Annotated[
        float | None, option("FLOAT", "default: 0.001 for a built-in system or with gains, else 0.0005")
    ] = None
    """Peak learning rate of AdamW, after a linear warm-up and before a cosine decay to zero."""
    demos: Annotated[int | None, option("INT", "default: all that are not held out")] = None
    """Number of episodes to train on, drawn at random by the seed."""
    held_out: Annotated[float | None, option("FLOAT", "default: 0")] = None
    """Fraction of episodes that are held out of training; their loss is recorded in metrics.jsonl at each
    checkpoint."""
    family: Annotated[str | None, one_of(FAMILY_NAMES, "default: diffusion")] = None
    """Family of the generative model. docs/choose.md compares them."""
    network: Annotated[
        str | None,
        one_of(NETWORK_NAMES, "default: film-mlp for a built-in system or with gains, else residual-mlp"),
    ] = None
    """Network of the model; the families lstm-gmm, act and autoregressive have their own."""
    tokenizer: Annotated[
        str | None,
        one_of(
            TOKENIZER_NAMES,
            "default: binning for tokens, fast for autoregressive, kmeans for bet, residual-vq for vq-bet",
        ),
    ] = None
    """Tokenizer of action chunks, for families that predict tokens."""
    codec: Annotated[
        Literal["actions", "affine"] | None,
        option("{actions,affine}", "default: affine for a built-in system, else actions"),
    ] = None
    """Contents of a chunk: actions only, or affine feedback controllers (action, reference state and gain; needs
    dynamics)."""
    synthesis: Annotated[
        Literal["tvlqr", "dare", "receding", "none"] | None,
        option("{tvlqr,dare,receding,none}", "default: tvlqr with the codec affine, else none"),
    ] = None
    """Method that computes feedback gains along the demonstrations: finite-horizon time-varying LQR, the stationary
    Riccati equation at each step, or receding-horizon LQR; none clones actions."""
    dynamics: Annotated[
        Literal["simulated", "linear", "mlp"] | None, option("{simulated,linear,mlp}", "default: simulated")
    ] = None
    """Dynamics for which gains are computed: the simulated system that the data name, or a model learned from the
    data: locally weighted linear regression, or an ensemble of networks."""
    exploration: Annotated[Path | None, option("DATA", "default: none")] = None
    """Additional data set with perturbed actions for learning the dynamics; needs --dynamics linear or mlp."""
    sigma_train: Annotated[
        float | None,
        option("FLOAT", "default: 0.1 with gains, 0 for actions on a built-in system, else 0.02"),
    ] = None
    """Standard deviation of the noise on observations during training, where observations are scaled to [-1, 1]. More
    noise makes the policy robust to its own errors and blurs what it sees."""
    sigma_deploy: Annotated[
        float | None,
        option(
            "FLOAT",
            "default: --sigma-train if given, else 0.1 with gains, 0 for actions on a built-in system, else 0.02",
        ),
    ] = None
    """Standard deviation of the noise on observations at deployment. Equal to --sigma-train, it gives the replica
    policy of the theory; give 0 for noise in training only."""
    horizon: Annotated[int | None, option("INT", "default: 8 for a built-in system or with gains, else 16")] = None
    """Chunk length: control steps that are planned at once."""
    n_action_steps: Annotated[
        int | None, option("INT", "default: 4 with gains, 1 for actions on a built-in system, else 10")
    ] = None
    """Control steps executed before the next plan; at most --horizon. Fewer react faster and need more network
    calls."""
    n_obs_steps: Annotated[int | None, option("INT", "default: 1")] = None
    """Number of most recent observations that the policy sees."""
    save_every: Annotated[int | None, option("INT", "default: 1000")] = None
    """Updates between checkpoints."""
    precision: Annotated[
        Literal["float32", "bfloat16"] | None,
        option(
            "{float32,bfloat16}",
            "default: float32; bfloat16 for other data on processors that compute in it",
        ),
    ] = None
    """Matrix-multiply precision during training."""
    device: Annotated[str | None, option("STR", "default: cpu, or the previous device with --resume")] = None
    """Device on which to train: cpu or cuda."""
    threads: Annotated[
        int | None,
        option(
            "INT",
            "default: OMP_NUM_THREADS if set, else benchmarked at start, or one thread per seed with --seeds; as "
            "before with --resume",
        ),
    ] = None
    """CPU threads for training. Small networks are fastest on one thread. Results are bit-identical only for equal
    numbers of threads."""
    compile: bool = False
    """Compile the loss with torch.compile. This takes up to a minute and needs a C++ compiler (Triton on a GPU); it
    pays off for long trainings of small networks and on GPUs. What cannot be compiled runs uncompiled."""
    overwrite: bool = False
    """Replace an existing run in --out."""

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
        recipe = self.made_recipe(episodes)
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
        train_run(
            recipe,
            episodes,
            self.out,
            resume=False,
            device=device,
            compiled=self.compile,
            any_threads=threads_are_open(self.threads, device=device),
        )

    def _resume(self, folder: Path) -> None:
        allowed = {"resume", "device", "threads"}
        given = [f.name for f in fields(self) if f.name not in allowed and getattr(self, f.name) != f.default]
        if given:
            options = ", ".join("DATA" if name == "data" else f"--{name.replace('_', '-')}" for name in given)
            raise RecipeError(f"--resume {folder} continues with the run's own data and recipe. Remove {options}.")
        if (seeds := seed_folders(folder)) and not (folder / "recipe.json").is_file():
            resume_seeds(seeds, threads=self.threads, device=self.device)
            return
        recipe = load_recipe(folder)
        if not recipe.data:
            raise RunError(f"{folder} was trained on arrays, not on stored data. Continue with fit(..., resume=True).")
        before = trained_on(folder)
        if self.threads is not None or len(seed_folders(folder.parent)) < 2:
            # several seeds train on one thread each, so one of them alone needs no more
            use_threads(before.threads if self.threads is None else self.threads)
        try:
            episodes = read(Path(recipe.data))
        except DataError as error:
            raise DataError(f"{error} (the demonstrations of {folder})") from error
        device = usable_device(self.device or before.device)
        train_run(recipe, episodes, folder, resume=True, device=device, compiled=before.compiled)

    def made_recipe(self, episodes: Episodes) -> Recipe:
        """The data's default recipe, changed by --recipe and by the options."""
        changes = combined(read_changes(self.recipe), self._changes())
        recipe = changed_recipe(
            episodes, changes, synthesis=self.synthesis, source=f"--recipe {self.recipe}" if self.recipe else "recipe"
        )
        data = self.data or Path()
        # an id on the Hub is no path: it must stay as it is to be found again
        recipe = replace(recipe, data=str(data.resolve() if data.exists() else data))
        model = model_for(recipe.policy.model, family=self.family, network=self.network, tokenizer=self.tokenizer)
        execution = recipe.policy.execution
        if self.family == "act":
            execution = replace(execution, ensemble=Ensemble())
        recipe = replace(
            recipe,
            policy=replace(recipe.policy, model=model, execution=execution),
            synthesis=synthesis_for(self.synthesis, recipe.synthesis),
        )
        return replace(recipe, dynamics=dynamics_for(self.dynamics, self.exploration, recipe))

    def _changes(self) -> dict[str, Any]:
        """The options that were given, nested as in recipe.json."""
        training = _given(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            sigma_train=self.sigma_train,
            save_every=self.save_every,
            precision=self.precision,
        )
        execution = _given(n_action_steps=self.n_action_steps, sigma_deploy=self.sigma_deploy)
        policy = _given(horizon=self.horizon, n_obs_steps=self.n_obs_steps)
        if self.codec is not None:
            policy["codec"] = {"kind": self.codec.title()}
        return {
            **_given(n_demos=self.demos, held_out=self.held_out, seed=self.seed),
            "training": training,
            "policy": {**policy, "execution": execution},
        }


def _given(**options: float | int | str | None) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
