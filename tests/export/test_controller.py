"""The example controller, which knows only the exported folder, acts as the policy does with the same noise."""

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from holdfast.cli import main
from holdfast.export import export_policy
from holdfast.export.graph import Graph
from holdfast.models import Flow, FlowSampler
from holdfast.policy import Coordinates, Ensemble, PolicyInterface
from holdfast.seeding import Noted

from .conftest import FAMILY, MLP

pytest.importorskip("onnxruntime")
EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_controller.py"
LIMITS = {"action_low": (-0.3, -20.0), "action_high": (0.3, 25.0)}
INTERFACE = PolicyInterface(
    observation=Coordinates(low=(0.0, -3.0, 5.0, 100.0), high=(512.0, 3.0, 5.0, 101.0), names=("x", "y", "z", "w")),
    state=Coordinates(low=(0.0, -3.0, 5.0, 100.0), high=(512.0, 3.0, 5.0, 101.0)),
    action=Coordinates(low=(-1.0, -2.0), high=(1.0, 2.0), names=("force", "torque"), units=("N", "N m")),
    n_robot=3,
    dt=0.05,
)


def lines_of_code(text: str) -> int:
    code = text.split('"""', 2)[2]
    return sum(bool(line.strip()) and not line.strip().startswith('"""') for line in code.splitlines())


def controller_of(folder, seed=0):
    spec = importlib.util.spec_from_file_location("onnx_controller", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Controller(folder, seed=seed)


def same_actions(policy, folder, steps=13):
    """Actions of policy and controller on the same observations and noise, [steps, m] each."""
    controller, graph = controller_of(folder), Graph.of(policy)
    noted = policy.executor.rng = Noted.of(policy.executor.rng)
    rng, pairs = np.random.default_rng(3), []
    for _ in range(steps):
        observation = (rng.random(4) * [512, 6, 0, 1] + [0, -3, 5, 100]).astype(np.float32)
        expected = policy.select_action(observation)
        if noted.draws:
            values = [value.numpy() for value in graph.noise.pack(noted.draws)]
            names = [one.name for one in graph.noise.inputs]
            given = dict(zip(names, values, strict=True))
            controller.noise = lambda given=given: given
            noted.draws.clear()
        pairs.append((expected.numpy(), controller.act(observation)))
    return map(np.stack, zip(*pairs, strict=True))


def test_the_controller_is_short_and_needs_two_packages():
    text = EXAMPLE.read_text()
    assert lines_of_code(text) < 60
    assert "holdfast import" not in text
    assert "import torch" not in text


@pytest.mark.parametrize(("family", "ensemble"), [("ancestral", None), ("mixture", Ensemble(0.1, newest_first=True))])
def test_it_acts_as_the_policy(policy_of, tmp_path, family, ensemble):
    """With feedback, noise on the observation, limits, and plans every four steps or at every step."""
    options = {**FAMILY, "ancestral": Flow(MLP, sampler=FlowSampler(steps=1, eta=1.0))}[family]
    policy = policy_of(options, gains=True, sigma_deploy=0.1, clip_observation=1.0, ensemble=ensemble, **LIMITS)
    export_policy(policy, tmp_path / "out")
    expected, found = same_actions(policy, tmp_path / "out")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    assert (np.abs(expected[:, 0]) == 0.3).any(), "no action reached a limit"


def test_it_runs_without_holdfast(policy_of, tmp_path):
    policy = policy_of(FAMILY["regression"])
    export_policy(policy, tmp_path / "out")
    observations = [[100.0, 0.0, 5.0, 100.5], [101.0, 0.1, 5.0, 100.4], None, [100.0, 0.0, 5.0, 100.5]]
    told = "".join(json.dumps(one) + "\n" for one in observations)
    # -I: neither the current folder nor an environment variable adds to the path
    run = f"sys.argv = ['', {str(tmp_path / 'out')!r}]; runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    check = f"import runpy, sys; {run}; assert not {{'torch', 'holdfast'}} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", check], input=told, capture_output=True, text=True, check=True)
    first, second, again = map(json.loads, done.stdout.splitlines())
    policy.reset()
    for found, given in ((first, observations[0]), (second, observations[1])):
        assert found == pytest.approx(policy.select_action(given).tolist(), rel=1e-4, abs=1e-4)
    assert again == first
    assert first != second


def test_a_guided_plan_is_refused_in_words(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"realtime": {"way": "guided"}}))
    with pytest.raises(SystemExit, match="needs an export without --realtime"):
        controller_of(tmp_path)


def test_the_verb_writes_names_units_and_the_origin(policy_of, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    policy = policy_of(FAMILY["regression"], sigma_deploy=0.2, interface=INTERFACE)
    policy.save_pretrained(run)
    arguments = ["export", str(run), "--out", str(out), "--format", "torch"]
    assert main([*arguments, "--sigma-deploy", "0", "--n-action-steps", "2"]) == 0
    about = json.loads((out / "manifest.json").read_text())
    assert (about["dt"], about["n_action_steps"]) == (0.05, 2)
    assert [one["name"] for one in about["inputs"]] == ["observation"]
    assert (about["inputs"][0]["names"], about["inputs"][0]["n_state"]) == (["x", "y", "z", "w"], 3)
    assert about["outputs"][0]["units"] == ["N", "N m"]
    assert about["run_digest"] == hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    # the first is kept, and replaced when that is asked for
    assert main(arguments) == 1
    assert json.loads((out / "manifest.json").read_text()) == about
    assert main([*arguments, "--overwrite"]) == 0
    again = json.loads((out / "manifest.json").read_text())
    assert [one["name"] for one in again["inputs"]] == ["observation", "observation_noise"]


def test_a_seed_repeats_the_controller(policy_of, tmp_path):
    export_policy(policy_of(FAMILY["cvae"]), tmp_path / "out")
    first, again, other = (controller_of(tmp_path / "out", seed=seed).act(np.zeros(4)) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()
