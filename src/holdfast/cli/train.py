"""`holdfast train`: demonstrations → run folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ..atomic import claimed
from ..data import Selection, read
from ..devices import usable_device
from ..errors import DataError, RecipeError, RunError
from ..learn import (
    check_parts,
    check_run,
    check_seeds,
    estimator_errors,
    is_of_run,
    load_recipe,
    seed_folders,
    stored_encoders,
    with_estimator_noise,
)
from ..models import FAMILY_NAMES
from ..nn import NETWORK_NAMES
from ..policy import Ensemble
from ..policy.realtime import CorrectionRecipe
from ..recipe import Recipe
from ..schema import from_plain
from ..tokens import TOKENIZER_NAMES
from ..types import Episodes
from .console import console
from .instruction_options import InstructionOptions
from .machine import conditions, threads_are_open, use_threads
from .options import one_of
from .picture_options import PictureOptions
from .places import check_apart
from .preparing import Pause, preparation_changes
from .reading import ReadingOptions, say_unseen
from .resuming import check_resumed, given_besides
from .rotation_options import RotationOptions
from .train_recipe import (
    changed_recipe,
    combined,
    dynamics_for,
    model_for,
    read_changes,
    synthesis_for,
    with_clean_prefix,
)
from .train_residual import train_residual
from .train_run import train_run
from .train_seeds import resume_seeds, seed_threads, train_seeds
from .waypoint_options import WaypointOptions


@dataclass(frozen=True)
class Train(WaypointOptions, RotationOptions, InstructionOptions, PictureOptions, ReadingOptions):
    """Train a policy on demonstrations, or resume a stopped training run.

    Options that are not given come from the file given as --recipe, or else from a default recipe for the data,
    which the defaults below describe. The file recipe.json in the run folder records what was used. For data of a
    built-in system (double_integrator, quadrotor2d, scalar), whose dynamics are known, the policy predicts chunks
    of feedback controllers with gains (HINT), and noise is added to the observations in training and at deployment.
    For other data it predicts chunks of actions, with less noise. Pictures are seen where --images names cameras,
    and instructions with --instructions. What the policy does not see is printed at the start. Below, "with gains"
    means that the codec is affine: by default, by --codec affine, or because --synthesis selects a method.
    docs/choose.md helps with the choice of a family, a network and noise.
    """

    data: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[DATA]")] = None
    """Demonstrations: file or folder of a data set (LeRobot, robomimic and other HDF5, zarr, Minari, npz, npy, CSV or
    Holdfast's own format; docs/data.md lists the layouts), or the id of a LeRobot data set on the Hugging Face Hub
    (owner/name). Required unless --resume or --residual is given."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Run folder to create. Required unless --resume or --residual is given."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Run folder of a stopped training run to continue, or a folder of several seeds, in place of DATA and --out. Of
    the other options, only --device and --threads may be given. The first checkpoint is written before the first
    update. Default: start a new run."""
    residual: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Run folder of a trained policy, in place of DATA and --out. A correction of every executed step is trained for
    it; its inputs are the newest observation, the planned action and the place of this action in the chunk (as in
    A2C2). The policy itself stays as it is. The correction is stored in the run folder and used by `evaluate --delay D
    --realtime residual`. Of the other options, only --residual-plans, --seed, --steps (default: 3000), --batch-size
    (512), --learning-rate (0.001), --device, --threads and --overwrite may be given. After a stop, the same command
    continues where it was; until the end, its checkpoints are in RUN/residual_state. Default: train a policy."""
    residual_plans: int | None = None
    """With --residual: number of plans of the policy that are made at the start and corrected; on large networks they
    take most of the time. Default: --steps times --batch-size divided by the chunk length, so that each step of a plan
    is drawn about once, and at most 16384."""
    recipe: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """JSON file with any fields of a recipe, nested as in recipe.json, for example {"training": {"weight_decay":
    0.0001}}; a whole recipe.json works too. Options given here override the file. Use it for settings without an option
    of their own, such as widths of networks, weight decay and clipping. Default: the recipe that suits the data."""
    seed: int | None = None
    """Random seed for episode selection, initialization, batches and noise. Default: 0."""
    seeds: int = 1
    """Number of seeds to train, starting at --seed. Several seeds are trained together in one batched computation,
    which is faster than one after the other; each gets its own run folder in --out, named after its seed: by default
    seed0, seed1 and so on."""
    steps: int | None = None
    """Number of parameter updates. Default: 40000 with --images, 24000 with --estimate, 4000 for a built-in system or
    with gains, else 16000."""
    batch_size: int | None = None
    """Batch size (windows per update). Default: 64 with --images, 128 for a built-in system or with gains, else 256."""
    learning_rate: float | None = None
    """Peak learning rate of AdamW, after a linear warm-up and before a cosine decay to zero. Default: 0.001 for a
    built-in system or with gains, else 0.0005."""
    demos: int | None = None
    """Number of episodes to train on, drawn at random by the seed. Default: all that are not held out."""
    held_out: float | None = None
    """Fraction of episodes that are held out of training; their loss is recorded in metrics.jsonl at each checkpoint.
    Default: 0.1 with --estimate, else 0."""
    family: Annotated[str | None, one_of(FAMILY_NAMES)] = None
    """Family of the generative model. docs/choose.md compares them. Default: diffusion."""
    network: Annotated[str | None, one_of(NETWORK_NAMES)] = None
    """Network of the model. The families lstm-gmm, act and autoregressive have their own and refuse this option.
    Default: film-mlp for a built-in system or with gains, else residual-mlp."""
    tokenizer: Annotated[str | None, one_of(TOKENIZER_NAMES)] = None
    """Tokenizer of action chunks, for families that predict tokens; fast, fsq and residual-vq need the extra `tokens`.
    Default: binning for tokens, fast for autoregressive, kmeans for bet, residual-vq for vq-bet."""
    codec: Literal["actions", "affine", "waypoints"] | None = None
    """Contents of a chunk: actions only; affine feedback controllers, which consist of an action, a reference state
    and a gain, and need dynamics; or way-points, the positions and velocities that a PD controller with the gains of
    --stiffness and --damping tracks at every step. Default: affine for a built-in system or if --synthesis selects a
    method, else actions."""
    synthesis: Literal["tvlqr", "dare", "receding", "none"] | None = None
    """Method that computes the gains along the demonstrations: time-varying LQR along the whole demonstration and,
    except in MuJoCo, beyond its end (tvlqr), the stationary Riccati equation at each step (dare), or receding-horizon
    LQR (receding), which is the feedback of the built-in experts. The cost is that of the task on a built-in system;
    elsewhere each state and action coordinate is divided by half its range in the data, except on avoid, where the cost
    contains only the actual position and the action; --recipe can set state_weight and action_weight in synthesis. The
    value none is the same as --codec actions. Default: none with --codec actions; otherwise tvlqr for a built-in system
    or with --codec affine, and none for other data."""
    dynamics: Literal["simulated", "linear", "mlp"] | None = None
    """Dynamics for which gains are computed, needed only with gains: those of the simulator in which the data were
    recorded (simulated: a built-in system, avoid, obstacle or mujoco:<id>), or a model learned from the data, which is
    a locally weighted linear regression (linear) or an ensemble of networks (mlp). Default: simulated, which is refused
    for data without such a simulator: give linear or mlp for them."""
    exploration: Annotated[Path | None, tyro.conf.arg(metavar="DATA")] = None
    """Additional data set with perturbed actions for learning the dynamics; needs --dynamics linear or mlp. Default:
    none."""
    sigma_train: float | None = None
    """Standard deviation of the noise on observations during training, where observations are scaled to [-1, 1]. More
    noise makes the policy robust to its own errors and blurs what it sees. Default: 0.1 with gains, 0 for actions on a
    built-in system, else 0.02."""
    sigma_from_estimator: Annotated[Path | None, tyro.conf.arg(metavar="EST")] = None
    """Noise on observations during training with the covariance of the errors that an estimator makes on the episodes
    that were held out of its training (`train --estimate`), in place of --sigma-train. No noise is added at deployment,
    where the estimator's own errors take its place. Default: --sigma-train."""
    sigma_deploy: float | None = None
    """Standard deviation of the noise that the policy adds to its observations before each plan at deployment, where
    observations are scaled to [-1, 1]. The feedback of gains acts on the state without this noise. With the same value
    as --sigma-train the policy is the replica policy of the theory; give 0 for noise in training only. Default:
    --sigma-train if given, else 0.1 with gains, 0 for actions on a built-in system, else 0.02."""
    horizon: int | None = None
    """Chunk length: control steps that are planned at once. Default: 1 with --estimate, 8 for a built-in system or with
    gains, else 16."""
    n_action_steps: int | None = None
    """Control steps executed before the next plan; at most --horizon. With fewer steps the policy reacts faster and
    calls its network more often. Without effect for the family act, which plans at every step and averages its plans,
    unless `evaluate` switches that off (--ensemble False) or is given a --delay. A --horizon below the default of this
    option is refused unless this option is given as well: below 4 with gains, and below 10 for actions on other data
    than those of a built-in system. Default: 4 with gains, 1 for actions on a built-in system, else 10."""
    prefix_delays: tuple[int, ...] | None = None
    """Delays for which the policy learns to continue a running plan (training-time real-time chunking): for each
    training chunk one of these numbers, d, is drawn with equal probability; its first d steps are given without noise,
    and the rest is learned. Include 0: the first plan of an episode has no prefix. Below --horizon; for the families
    diffusion and flow. Such a policy is executed under delay with `evaluate --delay D --realtime trained`. Default:
    none."""
    drop_episodes: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="N|N-M|COLUMN=VALUE [...]")] = None
    """Episodes to leave out: numbers and ranges such as 3-7 (with 7), counted from 0 among the episodes that are read
    (after --episodes, --filter-key and --task, before any are left out), or values of an episode column, for example
    --drop-episodes 0 3-7 success=0; 7- means all from 7 on, and steps=0-9 all with at most 9 steps. Default: none."""
    drop_idle: Annotated[tuple[Pause, ...] | None, tyro.conf.arg(metavar="{start,middle,end} [...]")] = None
    """Places of pauses to cut out of the episodes: start, middle, end. `holdfast inspect` reports pauses. A pause is a
    stretch of at least ten steps in which no coordinate of the state or the action moves by more than 5 % of its
    typical displacement over five steps. One step of each pause is kept, and ten of a pause at the end of an episode.
    Default: none."""
    shift_actions: int | None = None
    """Pair the observation of step t with the action of step t + INT. For example, -2 corrects observations that were
    recorded two steps late. Steps for which an episode has no such action are left out. Default: 0."""
    absolute_actions: bool = False
    """Learn absolute goals in place of the commands of robosuite's operational-space controller (OSC_POSE, as in
    robomimic's sets): position, rotation vector and gripper, as the controller computes them in the recorded states.
    The run is then evaluated in an environment that takes goals."""
    weights: Annotated[str | None, tyro.conf.arg(metavar="COLUMN|quality|FILE")] = None
    """Relative frequency with which each window of an episode is drawn: the name of an episode column; a .json, .csv or
    .txt file with one nonnegative number for each episode of the data as they are read, before --drop-episodes; or
    `quality`, by which episodes whose actions agree with those of others count more. Default: all windows equally
    often, so that longer episodes are drawn more often."""
    segments: Annotated[str | None, tyro.conf.arg(metavar="COLUMN=LABEL")] = None
    """Train one skill: on the steps with a label alone, for example skill=reach, each uninterrupted segment as an
    episode of its own. The column holds whole numbers, which meta.labels of the data may name; `holdfast skills` makes
    a library of several skills. Default: whole episodes."""
    n_obs_steps: int | None = None
    """Number of most recent observations that the policy sees. Default: 1."""
    save_every: int | None = None
    """Updates between checkpoints. Default: 1000."""
    precision: Literal["float32", "bfloat16"] | None = None
    """Matrix-multiply precision during training. Default: float32 for a built-in system or with gains; else bfloat16
    on processors that have instructions for it, and float32 on others."""
    device: str | None = None
    """Device on which to train: cpu or cuda. Default: cpu, or the previous device with --resume."""
    threads: int | None = None
    """CPU threads for training. Small networks are fastest on one thread. Results are bit-identical only for equal
    numbers of threads. Default: OMP_NUM_THREADS if set; else the number that a short benchmark at the start finds
    fastest, or with --seeds as many threads as seeds, up to the number of cores. With --resume: as before."""
    compile: bool = False
    """Compile the loss with torch.compile. This takes up to a minute, needs a C++ compiler (Triton on a GPU) and pays
    off for long training runs of small networks. It has not been measured on GPUs. What cannot be compiled runs
    uncompiled."""
    overwrite: bool = False
    """Replace an existing run in --out, and its results of evaluate and diagnose, once the new run has its first
    checkpoint; with --residual, an existing correction. Other files in the folder stay."""

    def run(self) -> None:
        """Train to the end, or to Ctrl-C."""
        if self.resume is not None:
            self._resume(self.resume)
            return
        if self.residual is not None:
            self._correct(self.residual)
            return
        if self.residual_plans is not None:
            raise RecipeError(
                "--residual-plans is for --residual RUN, the training of a correction. Give --residual too, or remove "
                "--residual-plans."
            )
        if self.data is None or self.out is None:
            raise RecipeError("expected DATA and --out RUN, or --resume RUN, or --residual RUN.")
        check_apart(self.out, self.data, self.exploration, self.recipe)
        # before the data are read, so that the refusal comes at once
        with claimed(self.out, ours=is_of_run, purpose="training in"):
            (check_run if self.seeds == 1 else check_seeds)(self.out, overwrite=self.overwrite)
            self._train(self.data, self.out)

    def _train(self, data: Path, out: Path) -> None:
        device = usable_device(self.device or "cpu")
        use_threads(seed_threads(self.seeds, device=device) if self.threads is None else self.threads)
        episodes = read(data, selection=self._selection(), dropped=self._dropped())
        say_unseen(episodes, seen=self.images or (), instructed=self._instructed())
        recipe = self._noised(self.made_recipe(episodes), episodes)
        common: dict[str, Any] = {"overwrite": self.overwrite, "device": device, "compiled": self.compile}
        if self.seeds > 1:
            train_seeds(recipe, self.seeds, episodes, out, **common)
            return
        any_threads = threads_are_open(self.threads, device=device)
        weights = {
            "encoders": self.encoders(recipe.policy.vision),
            "text_features": self.features_of(recipe.policy.language),
        }
        train_run(recipe, episodes, out, resume=False, any_threads=any_threads, **weights, **common)

    def _instructed(self) -> bool:
        """Whether the policy follows instructions."""
        stored: Any = read_changes(self.recipe).get("policy", {})
        return self.instructions or bool(stored.get("language"))

    def _noised(self, recipe: Recipe, episodes: Episodes) -> Recipe:
        """The recipe with the noise that an estimator's errors ask for."""
        if self.sigma_from_estimator is None:
            return recipe
        if self.sigma_train is not None or self.estimate is not None or self.images is not None:
            raise RecipeError(
                "--sigma-from-estimator sets the noise of a policy that sees no pictures itself. Remove --sigma-train, "
                "--estimate and --images, or remove it."
            )
        found = estimator_errors(self.sigma_from_estimator)
        recipe, sigma = with_estimator_noise(recipe, episodes, found), self.sigma_deploy
        console.say(f"{self.sigma_from_estimator}: {found.sentence}")
        if sigma is None:
            return recipe
        execution = replace(recipe.policy.execution, sigma_deploy=sigma, noise_law=recipe.training.noise_law)
        return replace(recipe, policy=replace(recipe.policy, execution=execution))

    def _correct(self, folder: Path) -> None:
        own = {"steps", "batch_size", "learning_rate", "seed"}
        if given := given_besides(self, {"residual", "residual_plans", "device", "threads", "overwrite"} | own):
            raise RecipeError(
                f"--residual {folder} corrects a trained policy on its run's own data. Remove {given}. Only "
                "--residual-plans, --seed, --steps, --batch-size, --learning-rate, --device, --threads and --overwrite "
                "may be given besides."
            )
        use_threads(self.threads)
        named: dict[str, Any] = {name: getattr(self, name) for name in own} | {"plans": self.residual_plans}
        options = CorrectionRecipe(**{name: value for name, value in named.items() if value is not None})
        train_residual(folder, options, overwrite=self.overwrite, device=self.device)

    def _resume(self, folder: Path) -> None:
        check_resumed(self, folder, own="the run's own data and recipe", allowed=("device", "threads"))
        with claimed(folder, ours=is_of_run, purpose="training in"):
            check_parts(folder)
            if (seeds := seed_folders(folder)) and not (folder / "recipe.json").is_file():
                resume_seeds(seeds, threads=self.threads, device=self.device)
            else:
                self._resume_one(folder)

    def _resume_one(self, folder: Path) -> None:
        recipe = load_recipe(folder)
        if not recipe.data:
            raise RunError(f"{folder} was trained on arrays, not on stored data. Continue with fit(..., resume=True).")
        before = conditions(folder)
        if self.threads is not None or len(seed_folders(folder.parent)) < 2:
            # several seeds train on one thread each, so one of them alone needs no more
            use_threads(before.threads if self.threads is None else self.threads)
        try:
            episodes = read(
                Path(recipe.data),
                selection=recipe.selection,
                dropped=recipe.preparation.drop_episodes,
                download=False,
            )
        except DataError as error:
            raise DataError(f"{error} (the demonstrations of {folder})") from error
        device = usable_device(self.device or before.device)
        again: dict[str, Any] = {"resume": True, "overwrite": False, "compiled": before.compiled}
        train_run(recipe, episodes, folder, device=device, encoders=stored_encoders(recipe, folder), **again)

    def _selection(self) -> Selection:
        """The selection of --recipe, changed by the options."""
        stored = read_changes(self.recipe).get("selection", {})
        return from_plain(Selection, combined(stored, self._selection_changes()))

    def _dropped(self) -> tuple[str, ...]:
        """Episodes that are left out of the training, which need not be sound."""
        stored: dict[str, Any] = read_changes(self.recipe).get("preparation", {})
        given = stored.get("drop_episodes", ()) if self.drop_episodes is None else self.drop_episodes
        return tuple(map(str, given))

    def _selection_changes(self) -> dict[str, Any]:
        changes = self.selection_changes()
        return changes if self.estimate is None else {**changes, "estimate": list(self.estimate)}

    def made_recipe(self, episodes: Episodes) -> Recipe:
        """The data's default recipe, changed by --recipe and by the options."""
        changes = combined(self._changes(), {"policy": self._rotation_changes(episodes)})
        changes = combined(read_changes(self.recipe), combined(changes, self._picture_changes(episodes)))
        recipe = changed_recipe(
            episodes, changes, synthesis=self.synthesis, source=f"--recipe {self.recipe}" if self.recipe else "recipe"
        )
        data = self.data or Path()
        # an id on the Hub is no path: it must stay as it is to be found again
        recipe = replace(recipe, data=str(data.resolve() if data.exists() else data))
        model = model_for(recipe.policy.model, family=self.family, network=self.network, tokenizer=self.tokenizer)
        execution, training = recipe.policy.execution, recipe.training
        if self.prefix_delays is not None:
            model = with_clean_prefix(model, self.prefix_delays)
            training = replace(training, prefix_delays=self.prefix_delays)
        if (rate := self.encoder_rate(training.learning_rate)) is not None:
            training = replace(training, encoder_learning_rate=rate)
        if self.family == "act":
            execution = replace(execution, ensemble=Ensemble())
        recipe = replace(
            recipe,
            policy=replace(recipe.policy, model=model, execution=execution),
            training=training,
            synthesis=synthesis_for(self.synthesis, recipe.synthesis),
        )
        return replace(recipe, dynamics=dynamics_for(self.dynamics, self.exploration, recipe))

    def _rotation_changes(self, episodes: Episodes) -> dict[str, Any]:
        changes = self.rotation_changes(episodes, absolute=self.absolute_actions)
        if self.codec in ("affine", "waypoints") and changes.get("codec", {}).get("rotations"):
            raise RecipeError(
                f"--codec {self.codec} holds no rotations: their gains and way-points are not defined here. Remove it, "
                "or give --action-rotations none."
            )
        if self.codec in ("affine", "waypoints"):
            changes.pop("codec", None)
        return changes

    def _picture_changes(self, episodes: Episodes) -> dict[str, Any]:
        return {"policy": {**self.picture_changes(episodes), **self.instruction_changes(episodes)}}

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
        policy.update(self.codec_changes(self.codec))
        preparation = preparation_changes(
            self.drop_episodes, self.drop_idle, self.shift_actions, self.weights, self.absolute_actions
        )
        preparation |= _given(segments=self.segments)
        return {
            **_given(n_demos=self.demos, held_out=self.held_out, seed=self.seed),
            "selection": self._selection_changes(),
            "preparation": preparation,
            "training": training,
            "policy": {**policy, "execution": execution},
        }


def _given(**options: float | int | str | None) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
