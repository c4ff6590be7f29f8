"""The manifest of an exported policy: what a controller needs to know besides the graph.

inputs      observation, pictures, then the noise inputs: name, dtype, shape, distribution; names, units and ranges
outputs     action, and for feedback controllers state and gain
execution   dt, n_obs_steps, horizon, n_action_steps, limits of the action, temporal ensembling
origin      digests of the run and of the file, versions, the difference to the policy
"""

from collections.abc import Sequence
from typing import Any

import torch

from .. import __version__
from ..data import feeds_back, rotations_of
from ..nn import View
from ..policy import Coordinates, Policy, PolicySpec
from ..schema import to_plain
from .comparison import TOLERANCE, batches_of
from .graph import Graph
from .guidance import WEIGHTS, Guidance
from .noise import NoiseInput
from .windows import PREFIX

MANIFEST = "manifest.json"
ORDER = "oldest first; before enough were seen, the first observation is repeated"
RESIZE = "bilinear with antialiasing, as Pillow's Image.resize(…, Resampling.BILINEAR)"
NEAREST = "nearest: pixel floor((i + 1/2) old / new) of each axis"
BYTES = "1 + round(254 (clip(d, near, far) - near) / (far - near)); 0 where d is not finite or not above 0"
VERSION = 1
"""Version of the manifest's own fields."""


def manifest_of(policy: Policy, graph: Graph, *, run: str | None, difference: float) -> dict[str, Any]:
    """The manifest of a policy, except what concerns the file.

    Args:
        policy: The policy.
        graph: Its graph.
        run: SHA-256 of the weights' file of the run that it was loaded from, if any.
        difference: Largest relative difference between graph and policy.
    """
    spec = policy.spec
    return {
        "manifest_version": VERSION,
        "inputs": [_observation(policy), *_pictures(spec), *_held(policy, graph), *map(_noise, graph.noise.inputs)],
        "outputs": _outputs(policy),
        **_execution(policy),
        "realtime": None if graph.guidance is None else _realtime(graph.guidance, policy.planner.prefix_delays),
        "checked": {
            "batches": [batch for batch, _ in batches_of(graph)],
            "tolerance": TOLERANCE,
            "difference": difference,
        },
        "family": type(spec.model).__name__,
        "run_digest": run,
        "versions": {"holdfast": __version__, "torch": str(torch.__version__)},
    }


def _observation(policy: Policy) -> dict[str, Any]:
    spec, interface = policy.spec, policy.interface
    shape = ["batch", spec.n_obs_steps, spec.n_observed]
    about = None if interface is None else interface.observation
    own = spec.n_observed if interface is None else interface.n_robot
    return {
        "name": "observation",
        "dtype": "float32",
        "shape": shape,
        "order": ORDER,
        "n_state": own,
        "used": spec.vision is None or spec.vision.readings != "none",
        **_described(about),
    }


def _pictures(spec: PolicySpec) -> list[dict[str, Any]]:
    """Pictures of each camera, in the size in which they are cropped; the graph crops their centre."""
    views = () if spec.vision is None else spec.vision.views
    return [
        {
            "name": f"{PREFIX}{view.camera}",
            "camera": view.camera,
            "dtype": "uint8",
            "shape": ["batch", spec.n_obs_steps, *view.size, view.channels],
            "order": f"{ORDER}; height, width, channels in the order of the training data, bytes from 0 to 255",
            "recorded": list(view.shape),
            "resize": None if view.resize is None else {"size": list(view.resize), "method": _resize(view)},
            **({} if view.depth is None else {"depth": _depth(view.depth)}),
        }
        for view in views
    ]


def _depth(ends: Sequence[float]) -> dict[str, Any]:
    """How measurements become the bytes of the graph."""
    near, far = ends
    return {"near": near, "far": far, "bytes": BYTES}


def _resize(view: View) -> str:
    return RESIZE if view.depth is None else NEAREST


def _noise(given: NoiseInput) -> dict[str, Any]:
    law = {"normal": {"mean": 0.0, "std": 1.0}, "uniform": {"low": 0.0, "high": 1.0}}[given.law]
    return {
        "name": given.name,
        "dtype": "float32",
        "shape": ["batch", *given.shape],
        "distribution": {"law": given.law, **law},
    }


def _held(policy: Policy, graph: Graph) -> list[dict[str, Any]]:
    """The running plan as inputs, and its weights."""
    if graph.guidance is None:
        return []
    order = "the steps of the running plan from the step of the observation on, the last one repeated"
    parts = [{**output, "name": f"held_{output['name']}", "order": order} for output in _outputs(policy)]
    weights = {
        "name": WEIGHTS,
        "dtype": "float32",
        "shape": ["batch", policy.spec.horizon],
        "low": 0.0,
        "high": 1.0,
        "order": "the weight of each step of the held plan, see realtime; 0 everywhere where no plan runs",
    }
    return [*parts, weights]


def _realtime(guidance: Guidance, learned: Sequence[int]) -> dict[str, Any]:
    """What a controller gives a guided plan: the plan that runs, and how much each of its steps counts."""
    return {
        "way": "guided",
        "jacobian": guidance.jacobian,
        "batch": guidance.batch,
        "delay": guidance.delay,
        "prefix_delays": list(learned),
        "held": "the steps of the running plan from now on, the last one repeated to the horizon",
        "weight_1": "given clean, as in training"
        if guidance.clean
        else "guided toward, like the others, with the largest weight",
        "guidance": "for a delay d and n steps that the running plan has left: 1 for i < d; c (exp(c) - 1) / (e - 1) "
        "with c = (n - i) / (n - d + 1) for d <= i < n; 0 for n <= i, and everywhere where no plan runs",
    }


def _outputs(policy: Policy) -> list[dict[str, Any]]:
    spec, interface = policy.spec, policy.interface
    action, state = (None, None) if interface is None else (interface.action, interface.state)
    shape = ["batch", spec.horizon, spec.n_actions]
    outputs = [{"name": "action", "dtype": "float32", "shape": shape, **_described(action)}]
    if feeds_back(spec.codec):
        of_state = ["batch", spec.horizon, spec.n_states]
        outputs.append({"name": "state", "dtype": "float32", "shape": of_state, **_described(state)})
        outputs.append({"name": "gain", "dtype": "float32", "shape": [*shape, spec.n_states]})
    return outputs


def _execution(policy: Policy) -> dict[str, Any]:
    spec, execution = policy.spec, policy.spec.execution
    return {
        "law": "u = action + gain (x - state), x the current state" if feeds_back(spec.codec) else "u = action",
        "limits": {"low": _numbers(execution.action_low), "high": _numbers(execution.action_high)},
        "dt": None if policy.interface is None else policy.interface.dt,
        "n_obs_steps": spec.n_obs_steps,
        "horizon": spec.horizon,
        "n_action_steps": _steps(spec),
        "ensemble": None if execution.ensemble is None else to_plain(execution.ensemble),
        "rotations": [{"first": one.first, "form": one.form} for one in rotations_of(spec.codec)],
        "sigma_deploy": execution.sigma_deploy,
        "sigma_features": execution.sigma_features if spec.vision else None,
        "clip_observation": execution.clip_observation,
    }


def _steps(spec: PolicySpec) -> int:
    """Steps executed before the next plan; temporal ensembling plans at every step."""
    return 1 if spec.execution.ensemble else spec.execution.n_action_steps


def _described(about: Coordinates | None) -> dict[str, Any]:
    if about is None:
        return {"names": None, "units": None, "low": None, "high": None}
    return {
        "names": _numbers(about.names),
        "units": _numbers(about.units),
        "low": list(about.low),
        "high": list(about.high),
    }


def _numbers(values: tuple[Any, ...] | None) -> list[Any] | None:
    return None if values is None else list(values)
