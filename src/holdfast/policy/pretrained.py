"""Trained policies: loaded from a run folder, one action per observation.

    policy = holdfast.load("runs/quadrotor")
    policy.reset()
    action = policy.select_action({"observation.state": state})

The deployable part of a run folder is three files, none of them a pickle: `recipe.json` (its field `policy`),
`model.safetensors` and `scale.json`; families of tokens have a fourth, `tokenizer.safetensors`.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from ..atomic import write_atomically
from ..data import MinMax
from ..errors import DataError, OutputError, RecipeError, RunError, ShapeError, UnknownNameError
from ..models import ChunkModel, tokenizer_options
from ..nn import Precision, can_be_packed, packed, with_compiled_networks
from ..schema import from_plain, to_plain
from ..seeding import stream
from ..tokens import load_tokenizer, save_tokenizer
from ..types import Observation, PrimitiveControllers
from .base import Execution, PolicySpec
from .ensemble import TemporalEnsemble
from .execute import ChunkExecutor
from .planner import Planner, build_model
from .smoothing import Smoothed
from .streamed import Streamed
from .versions import RUN_VERSION, upgrade

ObservationLike = Observation | Mapping[str, Any] | Tensor | NDArray[Any]


class Policy:
    """Trained policy.

    Args:
        planner: Trained model with its scales.
        execution: Execution settings. Default: those of the planner's specification.
        seed: Random seed of the policy.
    """

    def __init__(self, planner: Planner, *, execution: Execution | None = None, seed: int = 0) -> None:
        self.planner = planner
        self.spec = planner.spec if execution is None else replace(planner.spec, execution=execution)
        options = self.spec.execution
        smoothed = Smoothed(planner, sigma=options.sigma_deploy, clip=options.clip_observation, law=options.noise_law)
        self.executor = ChunkExecutor(
            Streamed(smoothed) if options.stream else smoothed,
            n_obs_steps=self.spec.n_obs_steps,
            n_action_steps=1 if options.ensemble else options.n_action_steps,
            action_low=_limits(options.action_low),
            action_high=_limits(options.action_high),
            seed=seed,
            device=next(planner.model.parameters()).device,
        )
        self.acting = TemporalEnsemble(self.executor, options.ensemble) if options.ensemble else self.executor

    def reset(self, seed: int | None = None) -> None:
        """Start a new episode; a seed restarts the policy's randomness, `None` continues it."""
        self.acting.reset(seed)

    def act(self, observation: Observation, state: Tensor) -> Tensor:
        """Next actions `[b, m]` of a batch of episodes."""
        # networks read no images yet, and windows of images would be large
        return self.acting.act(replace(observation, images={}), state)

    def select_action(self, observation: ObservationLike, state: Tensor | None = None) -> Tensor:
        """Next action.

        Args:
            observation: `{"observation.state": [n] or [b, n], "observation.environment_state": …}`, an
                `Observation`, or a state alone.
            state: Feedback state of the primitive controllers. Default: `observation.state`.

        Returns:
            The action, `[m]` or `[b, m]`, in physical units.
        """
        seen, batched = _batched(as_observation(observation))
        feedback = seen.state if state is None else (state if batched else state[None])
        action = self.act(seen, feedback)
        return action if batched else action[0]

    def predict_action_chunk(self, observation: ObservationLike) -> Tensor:
        """Reference actions ū, `[h, m]` or `[b, h, m]`, of the chunk planned from this observation."""
        return self.executor.limit(self.predict_controllers(observation).actions)

    def predict_controllers(self, observation: ObservationLike) -> PrimitiveControllers:
        """Composite action, `[h]` or `[b, h]`, planned from this observation.

        The policy's window of past observations and its randomness are not changed.
        """
        seen, batched = _batched(as_observation(observation))
        with self.executor.aside():
            self.executor.observe(seen)
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
        ready = with_compiled_networks(self.planner.model)
        if ready is None:
            raise RecipeError(
                f"the model {type(self.spec.model).__name__} generates chunks token by token and has no network of "
                "whole chunks to compile. Use the policy as it is."
            )
        return self._ready(ready)

    def _ready(self, model: ChunkModel) -> "Policy":
        """This policy with another form of its model, after a first plan."""
        planner = replace(self.planner, model=model)
        ready = Policy(planner, execution=self.spec.execution)
        window = Observation(state=torch.zeros(1, self.spec.n_obs_steps, self.spec.n_observed))
        planner.plan_normalized(window, rng=stream(0, "warm up"))
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
        save_planner(folder, self.planner)

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, execution: Execution | None = None, device: torch.device | str = "cpu", seed: int = 0
    ) -> "Policy":
        """Policy of a run folder.

        Args:
            path: Run folder.
            execution: Execution settings. Default: the stored ones.
            device: Device of the model's weights.
            seed: Random seed of the policy.

        Raises:
            RunError: The folder is incomplete, damaged or written by a later version.
        """
        folder = Path(path)
        try:
            spec = from_plain(PolicySpec, read_recipe(folder)["policy"])
        except (RecipeError, UnknownNameError) as error:
            raise RunError(f"{folder / 'recipe.json'} contains no valid policy: {error}") from error
        observation_scale, code_scale = _read_scales(folder / "scale.json")
        stored = None if tokenizer_options(spec.model) is None else load_tokenizer(folder / "tokenizer.safetensors")
        model = build_model(spec, tokenizer=stored)
        try:
            model.load_state_dict(load_file(_existing(folder / "model.safetensors")))
        except (SafetensorError, RuntimeError) as error:
            raise RunError(f"{folder / 'model.safetensors'} does not fit this policy: {error}.") from error
        model.to(device).eval()
        planner = Planner(spec, model, observation_scale=observation_scale, code_scale=code_scale)
        return cls(planner, execution=execution, seed=seed)


def save_planner(folder: Path, planner: Planner) -> None:
    """Write `scale.json`, `model.safetensors` and, for families of tokens, `tokenizer.safetensors`."""
    scales = {"observation": planner.observation_scale, "code": planner.code_scale}
    plain = {name: scale.to_plain() for name, scale in scales.items()}
    write_atomically(folder / "scale.json", json.dumps(plain, indent=1))
    write_atomically(folder / "model.safetensors", save(planner.model.state_dict()))
    if planner.model.tokenizer is not None:
        save_tokenizer(folder / "tokenizer.safetensors", planner.model.tokenizer)


def read_recipe(folder: Path) -> dict[str, Any]:
    """The recipe of a run folder as plain values, upgraded to the current version."""
    if not folder.exists():
        raise RunError(f"{folder} does not exist. Make a run folder with: holdfast train DATA --out {folder}")
    if not (folder / "recipe.json").is_file():
        raise RunError(
            f"{folder} is not a run folder: recipe.json is missing. Make one with: holdfast train DATA --out RUN"
        )
    try:
        stored = upgrade(_read_json(folder / "recipe.json"))
    except RunError as error:
        raise RunError(f"{folder}: {error}") from error
    if "policy" not in stored:
        raise RunError(f"{folder / 'recipe.json'} lacks the field policy. Train again with: holdfast train")
    return stored


def as_observation(value: ObservationLike) -> Observation:
    """Observation from an `Observation`, a mapping with LeRobot's keys, or an array."""
    if isinstance(value, Observation):
        return _checked(replace(value, images={}))
    if isinstance(value, Mapping):
        if "observation.state" not in value:
            raise ShapeError(f"expected the key 'observation.state', got {', '.join(sorted(value)) or 'none'}.")
        environment = value.get("observation.environment_state")
        return _checked(
            Observation(
                state=_floating(value["observation.state"]),
                environment_state=None if environment is None else _floating(environment),
            )
        )
    return _checked(Observation(state=_floating(value)))


def _floating(values: Any) -> Tensor:
    tensor = torch.as_tensor(values)
    return tensor if tensor.is_floating_point() else tensor.double()


def _checked(observation: Observation) -> Observation:
    bad = (~observation.vector.isfinite()).nonzero()
    if len(bad):
        raise DataError(
            f"the observation holds {float(observation.vector[tuple(bad[0])])} at coordinate {int(bad[0, -1])}. "
            "Check the sensor or the reader; the policy cannot act on it."
        )
    return observation


def _limits(values: tuple[float, ...] | None) -> Tensor | None:
    # in full precision: rounded to float32, a limit can exceed the given one
    return None if values is None else torch.tensor(values, dtype=torch.float64)


def _batched(observation: Observation) -> tuple[Observation, bool]:
    if observation.state.dim() == 2:
        return observation, True
    return observation.map(lambda values: values[None]), False


def _existing(path: Path) -> Path:
    if not path.exists():
        raise RunError(
            f"{path.parent} is incomplete: {path.name} is missing. "
            f"If its training was stopped, continue with: holdfast train --resume {path.parent}"
        )
    return path


def _read_scales(path: Path) -> tuple[MinMax, MinMax]:
    """Scales of observations and codes."""
    stored = _read_json(path)
    try:
        return MinMax.from_plain(stored["observation"]), MinMax.from_plain(stored["code"])
    except (KeyError, TypeError, DataError) as error:
        raise _damaged(path, error) from error


def _read_json(path: Path) -> dict[str, Any]:
    file = _existing(path)
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no JSON, or no text at all
        raise _damaged(path, error) from error
    if not isinstance(stored, dict):
        raise _damaged(path, f"expected an object, got {stored!r:.40}")
    return cast("dict[str, Any]", stored)


def _damaged(path: Path, reason: object) -> RunError:
    return RunError(f"{path} is damaged ({reason}). Train again, or restore it from a copy.")
