"""`holdfast evaluate`: closed loop, with intervals."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from ..control import SYSTEMS
from ..data import check_output, claimed_output, write
from ..devices import usable_device
from ..envs import (
    ENVIRONMENTS,
    FIRST_UNTOUCHED_SEED,
    Environment,
    Estimated,
    cameras_of,
    make_environment,
    unwrapped,
    with_pictures,
)
from ..envs.drawn_depth import SUFFIX, Asked, DrawnDepth, size_of
from ..envs.pusht import PushT
from ..errors import RecipeError, UnknownNameError
from ..evaluation import Evaluation, check_start, evaluate
from ..learn import Rolling, estimator_origin, load_estimator, load_recipe
from ..models import Streaming
from ..policy import Ensemble, Policy
from ..policy.realtime import Forward, Rolls, correction_origin
from ..policy.skills import is_library
from ..recipe import Recipe
from ..report import draw_errors, write_result
from ..report.pusht import draw_tables
from .console import console, name_files, results_folder
from .constraints import read_filter
from .environment import check_first_seed, check_recorded, check_recorded_depth, environment_of
from .estimates import counted_episodes, show_estimates
from .evaluate_skills import ALLOWED, LibraryEvaluation
from .forcing_options import ForcingOptions, history_of
from .instructed import instructed
from .machine import check_rollouts
from .places import check_apart, default_folder
from .progress import stages
from .realtime import dynamics_for, under_delay, way_of
from .robosuite_data import compare_with_data

_SHOWN_TABLES = 12


@dataclass(frozen=True)
class Evaluate(ForcingOptions):
    """Run a trained policy in its environment and report scores with 95 % intervals.

    On a built-in system (double_integrator, quadrotor2d, scalar) the expert starts from the same initial states. The
    reward of a step is exp(-cost). For each episode, the policy's sum of rewards is divided by the expert's; `score` is
    the mean of this ratio over episodes. `distance` is the median over episodes of the time-averaged Euclidean norm of
    the difference of their states, in the state's own units, and `diverged` the fraction of episodes in which that norm
    ever exceeds 10, about twice the largest norm of an initial state of the quadrotor. The expert's rollouts are kept
    in ~/.cache/holdfast, or in the folder given by the environment variable HOLDFAST_CACHE, and are read from there the
    next time; HOLDFAST_CACHE=off switches this off.

    The other environments are pusht (observes keypoints of the block; pusht:<x>,<y>,<angle> has another goal, in px and
    rad), pusht-state (its pose), pusht-pixels (pictures; used for policies trained on pictures even where pusht is
    given), avoid, avoid-m1 to avoid-m3 (avoid with the rewards of DPPO), courier, fork, maze, obstacle, particle (in 2
    dimensions; particle:<dims> has <dims> dimensions), gym:<id> (any Gymnasium environment, for example
    gym:Pendulum-v1), mujoco:<id> (a Gymnasium environment that MuJoCo simulates, for example mujoco:Hopper-v5) and
    robosuite:<task> (Lift, Can or Square with robomimic's settings; others follow, as in
    robosuite:Lift:absolute,kp=50). The policy observes the same in mujoco:<id> as in gym:<id>. They differ in what
    gains act on: in gym:<id> on the observation, in mujoco:<id> on all positions and velocities of the simulator (qpos
    and qvel).

    In all these other environments each episode has its own seed, counted from --first-seed. `score` is that of the
    task: on Push-T the mean over episodes of the largest coverage of the target area in the episode, which is divided
    by 0.95 and clipped at 1 before the mean is taken; on avoid, fork and obstacle the fraction of solved episodes;
    elsewhere the mean return, which is 1 for a solved episode of courier, maze or particle and 0 for any other. On
    avoid, fork and obstacle `entropy` is that of the ways in which episodes were solved (1 if all ways are equally
    frequent, 0 if there is only one). `success` is the fraction of solved episodes, where the environment defines
    success, and `return` the mean sum of rewards.
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder of a trained policy, or a skill library (`holdfast skills`)."""
    episodes: int = 50
    """Number of episodes. More give narrower intervals. Rates always get an interval, means only from 10 episodes
    on."""
    untouched: int = 0
    """Number of further episodes, with seeds from 400000 on, reported in addition to the others. Their starts should
    play no part in any choice, of hyper-parameters or of checkpoints. For a published result, make all choices with
    seeds below 100000, and give 500 or more here, once, after the last choice. It is not available on a built-in
    system. There --seed selects all initial states; give a --seed that was used for no choice. Default: none."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for result.json and pictures. Default: RUN/evaluation, where earlier results are replaced even
    without --overwrite."""
    seed: int = 0
    """Random seed for the noise of the policy and, on a built-in system, for the initial states, which are held out:
    they are drawn independently of those of `holdfast demonstrate`."""
    first_seed: int | None = None
    """Seed of the first episode. It is not available on built-in systems, where --seed selects the initial states. Use
    seeds below 100000 to tune a policy. Default: 100000, the first test seed."""
    environment: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Environment or built-in system in which to run the policy. Default: the environment recorded in the training
    data, or recognized from their layout, as for Push-T. For data without one, such as those of a real robot, give a
    simulation with the same observations and actions, for example gym:<id>."""
    estimator: Annotated[Path | None, tyro.conf.arg(metavar="EST")] = None
    """Run folder of an estimator (`holdfast train --estimate`), for a policy that sees no pictures: the environment
    shows pictures, and the coordinates that are estimated from them take the place of those that its simulator knows.
    Default: the environment's own."""
    n_action_steps: int | None = None
    """Control steps executed before the next plan; at most the chunk length. With temporal ensembling (--ensemble),
    which plans at every step, numbers above 1 are refused, unless --delay is given: then a plan is requested every
    --n-action-steps steps. Default: as in the recipe."""
    ensemble: bool | None = None
    """Temporal ensembling, as in ACT: plan at every step, and execute the weighted mean of all actions that recent
    plans contain for this step. Older plans have slightly larger weights. Default: as in the recipe, which
    has True only for the family act unless changed there."""
    stream: bool | None = None
    """For policies of the family streaming: continue denoising the previous plan instead of starting each plan from
    noise, which needs fewer network calls. One block of the chunk is then executed before the next plan: the chunk
    length divided by the family's number of blocks, 2 unless changed, hence 8 for a chunk of 16 steps. Another
    --n-action-steps is refused. With --delay, give --realtime streaming instead. Default: as in the recipe, which has
    False unless changed there."""
    sigma_deploy: float | None = None
    """Standard deviation of the noise that the policy adds to its observations before each plan, where observations are
    scaled to [-1, 1]. The feedback of gains acts on the state without this noise. Default: as in the recipe."""
    instruction: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    """Instruction of all episodes, for a policy that was trained with --instructions; "" gives none. Default: that of
    the environment, or the only one that the policy knows."""
    instruction_guidance: float | None = None
    """Weight of classifier-free guidance by the instruction, for the families diffusion and flow: 1 is the policy as it
    was trained, 0 acts without the instruction, and with values above 1 the instruction counts more. Other values than
    1 take two network calls in place of one. Default: as in the recipe, which has 1 unless changed there."""
    text_encoder: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Folder of the text encoder of the training, for an --instruction that the policy was not trained on. Default:
    only known instructions are accepted."""
    delay: Annotated[str | None, tyro.conf.arg(metavar="STEPS")] = None
    """Inference delay in control steps: a plan for the observation of step t can be executed from step t + STEPS on.
    0-4 draws the delay of each plan anew, with equal probability. Except with --realtime wait, it is at most the number
    of executed steps (--n-action-steps), and at most the chunk length minus this number, also with temporal ensembling.
    Raw actions on a built-in system, of which 1 step is executed by default, thus allow a delay of at most 1: give a
    larger --n-action-steps as well. Default: plans take no time."""
    realtime: Annotated[str | None, tyro.conf.arg(metavar="WAY")] = None
    """How the policy acts while its next plan is being made, with --delay. wait: stand still. naive: execute the old
    plan and switch when the new one is there. ensemble: average the plans that are there. bid: choose among 15 plans
    the one closest to the old plan. guided: guide the new plan toward the old one by gradients (families diffusion,
    flow, shortcut, meanflow, streaming, forcing); guided-no-jacobian does not differentiate through the network.
    conditioned: give the new plan the steps that are executed meanwhile (families that condition exactly: mixture,
    lstm-gmm, energy, streaming, forcing, bet, and tokens and autoregressive with the tokenizers binning or kmeans).
    trained: the same for diffusion and flow trained with --prefix-delays, and for streaming and forcing. streaming:
    continue denoising the old plan (family streaming). forward: plan for the state that is predicted for the arrival of
    the plan, by the known dynamics of a built-in system, avoid, fork, maze, obstacle or particle, without gusts, else
    by dynamics that are learned from the training data at the start; the result names which of the two (dynamics).
    residual: act as with naive and correct every action from the newest observation, after `train --residual RUN`.
    Other families are refused. Default: naive, or ensemble for the family act."""
    weaker: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """For --realtime bid: run folder of a weaker policy, for example one trained with fewer --steps, from whose plans
    the chosen one should differ. It has the same sizes, and coordinates of the same names, order and units; where they
    were trained in other ranges, that is said. Default: only the distance to the old plan counts."""
    filter: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """JSON file with the constraints of a safety filter: action_low, action_high and rate (largest change from step to
    step) with one number for each action coordinate; half_spaces and offsets, which limit the next state, with
    state_matrix and action_matrix, the linearized dynamics. Each action is replaced by the nearest one that keeps all
    of them. The result has the number of filtered steps of an episode (filtered), and of those in which no action kept
    all constraints (infeasible). docs/actions.md describes the fields. Default: as in the recipe, which has none unless
    it was set."""
    on_nonfinite: Literal["raise", "hold"] | None = None
    """What happens in an episode whose next action would not be finite: the episode ends and counts as lost (raise), or
    the last action is repeated (hold). A lost episode has the lowest score of its task, at whatever step it is lost,
    and counts as not solved. Its score is 0 on Push-T and on a built-in system, where it also counts as diverged. Its
    return is minus infinity, and so is then the mean return. The same holds for the score of tasks whose score is the
    mean return. Default: as in the recipe, where it is raise unless it was set."""
    record: Annotated[Path | None, tyro.conf.arg(metavar="DATA")] = None
    """Data set to which the episodes are written as well; the suffix selects the format, as in `holdfast demonstrate`.
    Default: not recorded."""
    record_cameras: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME [NAME ...]")] = ()
    """With --record, in gym:<id>, mujoco:<id> and robosuite:<task>: cameras of the MuJoCo model, named as in its XML,
    whose pictures are recorded, so that a policy of pictures can be trained on a policy of states. Default: those that
    the policy sees."""
    picture_size: Annotated[tuple[int, int], tyro.conf.arg(metavar="HEIGHT WIDTH")] = (96, 96)
    """Height and width of the pictures of --record-cameras in pixels."""
    record_depth: Annotated[tuple[float, float] | None, tyro.conf.arg(metavar="NEAR FAR")] = None
    """Nearest and farthest depth in metres that is resolved in the depth of --record-cameras: the camera `top_depth` is
    the depth of the model's camera `top`. Default: none; required with such a camera."""
    video: bool = False
    """Store the pictures of --record as H.264 video, in the format lerobot only: tens of times smaller, and not exactly
    the same. Needs the extra video."""
    device: str = "cpu"
    """Device on which the network runs: cpu or cuda."""
    overwrite: bool = False
    """Replace existing results in the folder given as --out, and the data set given as --record."""

    def run(self) -> None:
        """Evaluate, show a table, write result.json."""
        if is_library(self.run_folder):
            self._library().run()
            return
        check_apart(self.out, self.run_folder, within=True)
        check_apart(self.record, self.run_folder, option="--record", within=True)
        check_apart(self.record, self.out or self.run_folder / "evaluation", option="--record", planned=True)
        recipe = load_recipe(self.run_folder)
        environment = environment_of(self.environment, recipe, self.run_folder)
        self._check_untouched(environment)
        check_first_seed(self.first_seed, environment)
        check_recorded(self.record_cameras, environment, recorded=self.record is not None)
        check_recorded_depth(self.record_cameras, self.record_depth)
        policy = self.policy(partial(self._dynamics, recipe, environment))
        if policy.spec.vision is not None or self.estimator is not None:
            environment = with_pictures(environment)
        out = self.out or default_folder(self.run_folder, "evaluation")
        with ExitStack() as stack:
            if self.record is not None:
                stack.enter_context(claimed_output(self.record))
                check_output(self.record, overwrite=self.overwrite)
            results = results_folder(out, overwrite=self.overwrite or self.out is None, purpose="evaluating into")
            opened = stack.enter_context(results)
            self._run(recipe, policy, environment, out, opened)

    def _library(self) -> LibraryEvaluation:
        """The options, for a skill library.

        Raises:
            RecipeError: There are others.
        """
        given = [f.name for f in fields(self) if f.name not in ALLOWED and getattr(self, f.name) != f.default]
        if given:
            named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise RecipeError(
                f"{self.run_folder} is a skill library, whose skills are executed as their own runs store it. Remove "
                f"{named}."
            )
        return LibraryEvaluation(
            library=self.run_folder,
            episodes=self.episodes,
            untouched=self.untouched,
            out=self.out,
            seed=self.seed,
            first_seed=self.first_seed,
            environment=self.environment,
            device=self.device,
            overwrite=self.overwrite,
        )

    def _run(
        self,
        recipe: Recipe,
        policy: Policy,
        environment: str,
        out: Path,
        opened: Callable[[], AbstractContextManager[Path]],
    ) -> None:
        started = time.perf_counter()
        found = self._evaluate(policy, environment, self.episodes, self.first_seed, images=self.record is not None)
        apart = None
        if self.untouched:
            apart = self._evaluate(policy, environment, self.untouched, FIRST_UNTOUCHED_SEED)
        values: dict[str, Any] = {
            **found.estimates,
            "environment": environment,
            "episodes": self.episodes,
            "seed": self.seed,
            "first_seed": found.first_seed,
            **self._delays(policy),
            **self._estimated(),
            **history_of(policy),
            **({"goal": list(self.goal)} if self.goal else {}),
            **({} if policy.spec.language is None else {"instruction": policy.instruction}),
            "recipe": replace(recipe, policy=policy.spec),
            "seconds": time.perf_counter() - started,
            "mismatches": [mismatch.to_plain() for mismatch in found.rollout.mismatches],
        }
        named = environment + self._delayed(policy)
        show_estimates(found, f"{named}, {counted_episodes(self.episodes, found)}")
        if apart is not None:
            about = {"episodes": self.untouched, "first_seed": FIRST_UNTOUCHED_SEED}
            values["untouched"] = {**apart.estimates, **about}
            show_estimates(apart, f"{named}, {counted_episodes(self.untouched, apart)}, untouched by any choice")
        elif isinstance(unwrapped(found.environment), PushT):
            console.say("for starts that played no part in any choice, add --untouched 500", style="dim")
        with opened() as fresh:
            written = [write_result(fresh / "result.json", values), *_pictures(found, fresh)]
            if self.record is not None:
                # before the results come to their place: where they are, all is written
                about = {"policy": str(self.run_folder), "seed": self.seed, "first_seed": found.first_seed}
                recorded = replace(found.episodes, meta={**found.episodes.meta, **about})
                write(recorded, self.record, video=self.video, overwrite=self.overwrite)
                written.append(self.record)
        name_files(*written, prepared=fresh, out=out)

    def _delayed(self, policy: Policy) -> str:
        """Delay and way in the title of a table; nothing where plans take no time."""
        if policy.realtime is None:
            return ""
        unit = "step" if str(policy.realtime.delay) == "1" else "steps"
        return f", delay {policy.realtime.delay} {unit}, {way_of(policy, self.realtime)}"

    def _delays(self, policy: Policy) -> dict[str, Any]:
        if policy.realtime is None:
            return {}
        way = way_of(policy, self.realtime)
        corrected = {"correction": correction_origin(self.run_folder)} if way == "residual" else {}
        acting, rolled = policy.realtime.way, dict[str, Any]()
        if isinstance(acting, Forward) and isinstance(acting.dynamics, Rolling):
            rolled = dict(acting.dynamics.about)
        contrast = {} if self.weaker is None else {"weaker": str(self.weaker)}
        return {"delay": str(policy.realtime.delay), "realtime": way, **rolled, **corrected, **contrast}

    def _estimated(self) -> dict[str, Any]:
        return {} if self.estimator is None else {"estimator": estimator_origin(self.estimator)}

    def _dynamics(self, recipe: Recipe, environment: str) -> Rolls:
        """The dynamics for the way forward, after a look whether the policy can be run there at all."""
        if self.estimator is not None:
            return dynamics_for(recipe, None, self.run_folder)
        policy = Policy.from_pretrained(self.run_folder)
        made = self._made(environment, 1, cameras=cameras_of(policy))
        try:
            check_start(policy, made)
            return dynamics_for(recipe, made, self.run_folder)
        finally:
            made.close()

    def _check_untouched(self, environment: str) -> None:
        if self.untouched and environment in SYSTEMS:
            raise RecipeError(
                f"on {environment}, --seed selects all initial states. Omit --untouched, and give a --seed that was "
                "used for no choice."
            )
        first = self.first_seed or 0
        untouched = range(FIRST_UNTOUCHED_SEED, FIRST_UNTOUCHED_SEED + self.untouched)
        if untouched and first < untouched.stop and first + self.episodes > untouched.start:
            raise RecipeError(
                f"the episodes from --first-seed {first} are among the untouched ones, which begin at seed "
                f"{FIRST_UNTOUCHED_SEED}. Choose another --first-seed."
            )

    def _evaluate(
        self, policy: Policy, environment: str, episodes: int, first_seed: int | None, *, images: bool = False
    ) -> Evaluation:
        """Evaluate, with a progress bar over control steps."""
        eyes = None if self.estimator is None else load_estimator(self.estimator, device=usable_device(self.device))
        recorded = self._recorded() if images else {}
        cameras = recorded | cameras_of(eyes or policy)
        made = self._made(environment, episodes, cameras=cameras)
        if eyes is not None:
            made = Estimated(made, eyes)
        try:
            compare_with_data(made, self.run_folder)
            numbers = policy.spec.n_observed + policy.spec.n_actions
            kept = [size_of(one) for one in cameras.values()] if images else []
            check_rollouts(episodes, made.steps, numbers, pictures=kept)
            with stages() as stage:
                return evaluate(
                    policy,
                    made,
                    episodes=episodes,
                    seed=self.seed,
                    first_seed=first_seed,
                    images=images,
                    on_step=stage(f"{episodes} episodes", made.steps),
                )
        finally:
            made.close()

    def _recorded(self) -> dict[str, Asked]:
        """Pictures of --record-cameras."""
        found: dict[str, Asked] = dict.fromkeys(self.record_cameras, self.picture_size)
        if self.record_depth is not None:
            depth = DrawnDepth(*self.picture_size, *self.record_depth)
            found |= {name: depth for name in self.record_cameras if name.endswith(SUFFIX)}
        return found

    def _made(self, environment: str, episodes: int, *, cameras: Mapping[str, Asked]) -> Environment:
        try:
            return make_environment(environment, episodes, images=bool(cameras), cameras=cameras)
        except UnknownNameError as error:
            if self.environment is not None:
                raise
            raise RecipeError(
                f"the data of {self.run_folder} come from {environment}, which cannot be simulated here. Run the "
                f"policy there (holdfast.load), or give an environment with --environment: {', '.join(ENVIRONMENTS)}."
            ) from error

    def policy(self, dynamics: Callable[[], Rolls] | None = None) -> Policy:
        """The policy of the run, executed as the options request; `dynamics` are for `--realtime forward`."""
        if self.stream and self.delay is not None:
            raise RecipeError(
                "--stream is for plans that take no time. With --delay, give --realtime streaming instead."
            )
        if self.ensemble is not None and self.realtime is not None and self.ensemble != (self.realtime == "ensemble"):
            raise RecipeError(
                f"--ensemble {self.ensemble} and --realtime {self.realtime} contradict each other: with --delay, "
                "--realtime ensemble averages plans, and no other way does. Remove --ensemble."
            )
        policy = Policy.from_pretrained(self.run_folder, device=usable_device(self.device), seed=self.seed)
        execution = policy.spec.execution
        if self.stream is not None:
            execution = replace(execution, stream=self.stream)
        if self.stream and isinstance(model := policy.spec.model, Streaming):
            execution = replace(execution, n_action_steps=policy.spec.horizon // model.blocks)
        if self.n_action_steps is not None:
            execution = replace(execution, n_action_steps=self.n_action_steps)
        if self.ensemble is not None:
            execution = replace(execution, ensemble=Ensemble() if self.ensemble else None)
        if execution.ensemble is not None and self.delay is None and (self.n_action_steps or 1) > 1:
            raise RecipeError(
                f"with temporal ensembling the policy plans at every step, so --n-action-steps {self.n_action_steps} "
                "would have no effect. Remove it, or give --ensemble False."
            )
        if self.sigma_deploy is not None:
            execution = replace(execution, sigma_deploy=self.sigma_deploy)
        if self.filter is not None:
            execution = replace(execution, filter=read_filter(self.filter))
        if self.on_nonfinite is not None:
            execution = replace(execution, on_nonfinite=self.on_nonfinite)
        policy = self.forced(policy)
        policy = instructed(policy, self.instruction_guidance, self.instruction, self.text_encoder)
        policy = Policy(policy.planner, execution=execution, seed=self.seed)
        return under_delay(
            policy,
            self.delay,
            self.realtime,
            self.weaker,
            run=self.run_folder,
            dynamics=dynamics,
            n_action_steps=self.n_action_steps,
        )


def _pictures(found: Evaluation, out: Path) -> list[Path]:
    environment = unwrapped(found.environment)
    if isinstance(environment, PushT) and found.simulator_state is not None:
        shown = min(len(found.scores), _SHOWN_TABLES)
        lengths = [int(length) for length in found.episodes.lengths]
        agents = torch.split(found.episodes.states, lengths)[:shown]
        states, goal = found.simulator_state[:shown, :5], environment.goal
        return [draw_tables(out / "tables.png", states, found.scores[:shown], agents=agents, goal=goal)]
    if found.comparison is None:
        return []
    times = [found.environment.dt * (step + 1) for step in range(found.comparison.error.shape[1])]
    return [draw_errors(out / "errors.png", times, {"policy": found.comparison.error})]
