"""Trained policies: loaded from a run folder, one action per observation.

    policy = holdfast.load("runs/quadrotor")
    policy.reset()
    action = policy.select_action({"observation.state": state})

The deployable part of a run folder is three files, none of them a pickle: `recipe.json` (its field `policy`),
`model.safetensors` and `scale.json`; families of tokens have a fourth, `tokenizer.safetensors`.
"""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..atomic import write_atomically
from ..data import rotations_of
from ..errors import InterfaceWarning, OutputError, RecipeError
from ..models import ChunkModel
from ..nn import Precision, can_be_packed, packed, unpacked, with_compiled_networks
from ..schema import to_plain
from ..seeding import stream
from ..types import Observation, PrimitiveControllers
from .base import Execution
from .ensemble import TemporalEnsemble
from .execute import ChunkExecutor
from .finite import Acting, Guarded, check_finite, finite_action, finite_controllers
from .instructions import with_task
from .interface import PolicyInterface
from .mismatch import odd_first
from .observed import ObservationLike, as_observation, check_observation, check_state, feedback_state, remembered
from .planner import Planner, blank_window, with_language
from .realtime import Continued, DelayedExecutor, RealTime
from .safety import Filtered
from .smoothing import Smoothed
from .stored import read_planner, save_planner
from .streamed import Streamed
from .turns import Turns
from .versions import RUN_VERSION


class Policy:
    """Trained policy.

    It never hands out a number that is not finite (see `Execution.on_nonfinite`), except to `envs.rollout`, which
    counts the episode as lost. An episode is stepped by one thread; a copy (`copy.deepcopy`) is a policy of its own.

    Args:
        planner: Trained model with its scales.
        execution: Execution settings. Default: those of the planner's specification.
        realtime: Inference delay, and how the policy acts meanwhile. Default: plans take no time.
        seed: Random seed of the policy.

    Raises:
        RecipeError: The delay does not fit the chunk, or the model cannot plan in the given way.
    """

    def __init__(
        self,
        planner: Planner,
        *,
        execution: Execution | None = None,
        realtime: RealTime | None = None,
        seed: int = 0,
    ) -> None:
        self.planner = planner
        self.spec = planner.spec if execution is None else replace(planner.spec, execution=execution)
        self.realtime = realtime
        options = self.spec.execution
        smoothed = Smoothed(planner, sigma=options.sigma_deploy, clip=options.clip_observation, law=options.noise_law)
        smoothed = replace(smoothed, sigma_features=options.sigma_features)
        continued = realtime is not None and isinstance(realtime.way, Continued)
        self.executor = ChunkExecutor(
            Streamed(smoothed, whole=continued) if options.stream or continued else smoothed,
            n_obs_steps=self.spec.n_obs_steps,
            n_action_steps=1 if options.ensemble and realtime is None else options.n_action_steps,
            action_low=_limits(options.action_low),
            action_high=_limits(options.action_high),
            seed=seed,
            device=next(planner.model.parameters()).device,
        )
        self.acting = self._acting()
        self.filtered = None if options.filter is None else Filtered(self.acting, options.filter)
        self.guarded = Guarded(self.filtered or self.acting, options.on_nonfinite)
        self.turns = Turns()
        self.begins = True

    def _acting(self) -> Acting:
        ensemble = self.spec.execution.ensemble
        if self.realtime is not None:
            return DelayedExecutor(self.executor, replace(self.planner, spec=self.spec), self.realtime)
        rotations = rotations_of(self.spec.codec)
        return TemporalEnsemble(self.executor, ensemble, rotations) if ensemble else self.executor

    @property
    def interface(self) -> PolicyInterface | None:
        """Names, order, units, time step and ranges of what the policy was trained on, if they are known."""
        return self.planner.interface

    @property
    def instruction(self) -> str | None:
        """Instruction of observations that carry none: the one that was set, or the only one that is known."""
        known = () if self.spec.language is None else self.spec.language.instructions
        return known[0] if self.planner.instruction is None and len(known) == 1 else self.planner.instruction

    def instruct(self, text: str | None) -> None:
        """Set the instruction of all following observations that carry none; the empty text gives no instruction.

        Raises:
            RecipeError: The policy was trained without instructions.
            InterfaceError: The instruction is unknown.
        """
        language = self.spec.language
        if language is None:
            raise RecipeError("the policy was trained without instructions. Train with: holdfast train --instructions")
        language.check(() if text is None else (text,))
        self.planner = replace(self.planner, instruction=text)

    def guided(self, weight: float) -> "Policy":
        """The same policy with classifier-free guidance by its instructions, x̂ = x̂(∅) + w (x̂(c) − x̂(∅)).

        With w = 1 it is the policy as it was trained, with w = 0 it acts without its instruction, and with w > 1 the
        instruction counts more. Other weights than 1 take two network calls in place of one. Ho and Salimans 2022
        (arXiv 2207.12598), eq. 6, with 1 + w in place of w.

        Args:
            weight: Weight w.

        Raises:
            RecipeError: The policy follows no instructions, or its family is neither diffusion nor flow.
        """
        if self.spec.language is None:
            raise RecipeError("the policy was trained without instructions. Train with: holdfast train --instructions")
        planner = with_language(self.planner, replace(self.spec.language, guidance=weight))
        return Policy(planner, execution=self.spec.execution, realtime=self.realtime)

    def reset(self, seed: int | None = None) -> None:
        """Start a new episode; a seed restarts the policy's randomness, `None` continues it."""
        with self.turns.lock:
            self.guarded.reset(seed)
            self.turns.free()
            self.begins = True

    def act(self, observation: Observation, state: Tensor) -> Tensor:
        """Next actions `[b, m]` of a batch of episodes; the errors are those of `select_action`."""
        check_observation(observation, self.spec)
        check_state(state, observation, self.spec)
        observation = with_task(observation, self.spec.language, self.instruction)
        with self.turns.lock:
            self.turns.claim()
            return self.guarded.act(remembered(observation, self.spec), state)

    def select_action(self, observation: ObservationLike, state: Any = None) -> Tensor:
        """Next action.

        Args:
            observation: `{"observation.state": [n] or [b, n], "observation.environment_state": …}`; named quantities
                in any order, `{"joints": [2], "grip": 0.1}`, if the training data have names (`interface`); an
                `Observation`; or a state alone. Numbers of any array-like, which are copied. A policy of pictures
                needs them too: `observation.images.<camera>`, bytes `[height, width, channels]` or `[b, …]`; one that
                sees no readings needs nothing else. A policy that follows instructions takes one, or one for each
                episode, as `task`; see also `instruct`.
            state: Feedback state of the primitive controllers, `[n]` or `[b, n]`. Default: `observation.state`.

        Returns:
            The action, `[m]` or `[b, m]`, in physical units, finite.

        Raises:
            ShapeError: A shape is another one than in training, or than before in this episode.
            InterfaceError: A named coordinate is missing.
            DataError: The observation or the state is not finite, or no array of real numbers.
            ActionError: The action would not be finite.
            RecipeError: Another thread steps this episode.
        """
        seen = as_observation(observation, self.spec, self.interface)
        batched = seen.state.dim() == 2
        feedback = feedback_state(state, observation, seen, self.spec)
        self._compare_first(seen)
        if batched:
            return self.act(seen, feedback)
        return self.act(seen.map(_first_axis), feedback[None])[0]

    def _compare_first(self, seen: Observation) -> None:
        """Warn of the first observation of an episode that lies outside every demonstration."""
        if not self.begins or self.interface is None:
            return
        self.begins = False
        batched, _ = _batched(seen)
        for mismatch in odd_first(self.interface, self.spec.vision, batched, where="this episode"):
            warnings.warn(str(mismatch), InterfaceWarning, stacklevel=3)

    def predict_action_chunk(self, observation: ObservationLike) -> Tensor:
        """Reference actions ū, `[h, m]` or `[b, h, m]`, of the chunk planned from this observation."""
        return finite_action(self.executor.limit(self._planned(observation).actions))

    def predict_controllers(self, observation: ObservationLike) -> PrimitiveControllers:
        """Composite action, `[h]` or `[b, h]`, planned from this observation.

        The policy's window of past observations and its randomness are not changed.

        Raises:
            ActionError: A reference or a gain would not be finite.
        """
        return finite_controllers(self._planned(observation))

    def _planned(self, observation: ObservationLike) -> PrimitiveControllers:
        seen, batched = _batched(as_observation(observation, self.spec, self.interface))
        check_finite(seen, seen.state)
        seen = with_task(seen, self.spec.language, self.instruction)
        with self.turns.lock, self.executor.aside():
            self.executor.observe(remembered(seen, self.spec))
            chunk = self.executor.plan()
        return chunk if batched else chunk[0]

    def packed(self, precision: Precision = "float32") -> "Policy":
        """The same policy with packed weights, for real-time plans on a CPU; makes one plan to warm up.

        Packing speeds up large networks that plan for one window at a time, where reading the weights dominates.
        bfloat16 halves the bytes read and has 8 significant bits; sums stay float32. The result only plans: train and
        save the original policy.

        Args:
            precision: Precision of the packed weights.

        Raises:
            RecipeError: The weights are not on a CPU, or PyTorch cannot pack them.
        """
        if not can_be_packed(self.planner.model):
            raise RecipeError(
                "packing needs single-precision weights on a CPU and PyTorch with oneDNN. Use the policy as it is, or "
                "load it with device='cpu'."
            )
        return self._ready(packed(self.planner.model, precision))

    def compiled(self) -> "Policy":
        """The same policy with its network compiled (`torch.compile`); makes one plan of one window to warm up.

        On a GPU a network call is then one CUDA graph; on a CPU compilation speeds up small networks. It takes ten
        seconds to a minute, again at the first plan for each other number of windows, and changes the last bits. A
        network that cannot be compiled runs as it is, with a `CompileWarning`. The result only plans: train and save
        the original policy.

        Raises:
            RecipeError: The model has no network of whole chunks.
        """
        ready = with_compiled_networks(unpacked(self.planner.model))
        if ready is None:
            raise RecipeError(
                f"the model {type(self.spec.model).__name__} generates chunks token by token and has no network of "
                "whole chunks to compile. Use the policy as it is."
            )
        return self._ready(ready)

    def _ready(self, model: ChunkModel) -> "Policy":
        """This policy with another form of its model, after a first plan."""
        planner = replace(self.planner, model=model)
        ready = Policy(planner, execution=self.spec.execution, realtime=self.realtime)
        planner.plan_normalized(blank_window(self.spec), rng=stream(0, "warm up"))
        return ready

    def save_pretrained(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the deployable part of a run folder.

        Raises:
            OutputError: The folder contains a run and `overwrite` was not given.
        """
        folder = Path(path)
        if (folder / "recipe.json").exists() and not overwrite:
            raise OutputError(f"{folder} contains a run. Choose another folder, or give overwrite=True.")
        stored = {"version": RUN_VERSION, "policy": to_plain(self.spec)}
        write_atomically(folder / "recipe.json", json.dumps(stored, indent=1))
        save_planner(folder, replace(self.planner, spec=self.spec))

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        execution: Execution | None = None,
        realtime: RealTime | None = None,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> "Policy":
        """Policy of a run folder.

        Args:
            path: Run folder.
            execution: Execution settings. Default: the stored ones.
            realtime: Inference delay, and how the policy acts meanwhile. Default: plans take no time.
            device: Device of the model's weights.
            seed: Random seed of the policy.

        Raises:
            RunError: The folder is incomplete, damaged, of files that do not belong together, or written by a later
                version.
            RecipeError: This machine does not have the device.
        """
        return cls(read_planner(Path(path), device=device), execution=execution, realtime=realtime, seed=seed)


def _limits(values: tuple[float, ...] | None) -> Tensor | None:
    # in full precision: rounded to float32, a limit can exceed the given one
    return None if values is None else torch.tensor(values, dtype=torch.float64)


def _first_axis(values: Tensor) -> Tensor:
    return values[None]


def _batched(observation: Observation) -> tuple[Observation, bool]:
    if observation.state.dim() == 2:
        return observation, True
    return observation.map(_first_axis), False
