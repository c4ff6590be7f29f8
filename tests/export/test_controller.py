"""The example controller, which knows only the exported folder, acts as the policy does with the same noise."""

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holdfast.cli import main
from holdfast.export import export_policy
from holdfast.export.graph import Graph
from holdfast.models import Flow, FlowSampler
from holdfast.nn import SmallCnn, View, Vision
from holdfast.policy import Coordinates, Ensemble, PolicyInterface
from holdfast.seeding import Noted

from .conftest import FAMILY, MLP, make_policy

pytest.importorskip("onnxruntime")
EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_controller.py"
MINIMAL = EXAMPLE.with_name("onnx_minimal.py")
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


def controller_of(folder, seed=0, example=EXAMPLE):
    spec = importlib.util.spec_from_file_location(example.stem, example)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Controller(folder, seed=seed)


def same_actions(policy, folder, steps=13, pictures=None, example=EXAMPLE):
    """Actions of policy and controller on the same observations, pictures and noise, [steps, m] each."""
    controller, graph = controller_of(folder, example=example), Graph.of(policy)
    noted = policy.executor.rng = Noted.of(policy.executor.rng)
    rng, pairs = np.random.default_rng(3), []
    for _ in range(steps):
        observation = (rng.random(4) * [512, 6, 0, 1] + [0, -3, 5, 100]).astype(np.float32)
        shown, given_images = pictures(rng) if pictures else ({}, {})
        expected = policy.select_action({"observation.state": observation, **shown} if shown else observation)
        if noted.draws:
            values = [value.numpy() for value in graph.noise.pack(noted.draws)]
            names = [one.name for one in graph.noise.inputs]
            given = dict(zip(names, values, strict=True))
            controller.noise = lambda given=given: given
            noted.draws.clear()
        images = {"images": given_images} if given_images else {}
        pairs.append((expected.numpy(), controller.act(observation, **images)))
    return map(np.stack, zip(*pairs, strict=True))


@pytest.mark.parametrize(("example", "lines"), [(EXAMPLE, 110), (MINIMAL, 45)])
def test_a_controller_is_short_and_needs_two_packages(example, lines):
    text = example.read_text()
    assert lines_of_code(text) < lines
    assert "holdfast import" not in text
    assert "import torch" not in text
    assert len(MINIMAL.read_text().splitlines()) < 60


@pytest.mark.parametrize(("family", "ensemble"), [("ancestral", None), ("mixture", Ensemble(0.1, newest_first=True))])
def test_it_acts_as_the_policy(policy_of, tmp_path, family, ensemble):
    """With feedback, noise on the observation, limits, and plans every four steps or at every step."""
    options = {**FAMILY, "ancestral": Flow(MLP, sampler=FlowSampler(steps=1, eta=1.0))}[family]
    policy = policy_of(options, gains=True, sigma_deploy=0.1, clip_observation=1.0, ensemble=ensemble, **LIMITS)
    export_policy(policy, tmp_path / "out")
    expected, found = same_actions(policy, tmp_path / "out")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    assert (np.abs(expected[:, 0]) == 0.3).any(), "no action reached a limit"


@pytest.mark.parametrize("family", ["diffusion", "mixture", "regression"])
def test_the_minimal_one_acts_as_the_policy(policy_of, tmp_path, family):
    """With feedback and limits; what it leaves out is refused, with the example that has it."""
    policy = policy_of(FAMILY[family], gains=True, sigma_deploy=0.1, **LIMITS)
    export_policy(policy, tmp_path / "out")
    expected, found = same_actions(policy, tmp_path / "out", example=MINIMAL)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    controller = controller_of(tmp_path / "out", example=MINIMAL)
    with pytest.raises(ValueError, match=r"expected an observation of 4 finite numbers, got \[1.0, nan, 0.0, 0.0\]"):
        controller.act([1.0, float("nan"), 0.0, 0.0])


def test_the_minimal_one_without_gains_and_limits(policy_of, tmp_path):
    policy = policy_of(FAMILY["regression"])
    export_policy(policy, tmp_path / "out")
    expected, found = same_actions(policy, tmp_path / "out", example=MINIMAL)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_the_minimal_one_refuses_what_it_leaves_out(policy_of, tmp_path):
    export_policy(policy_of(FAMILY["regression"], ensemble=Ensemble(0.1)), tmp_path / "out")
    with pytest.raises(ValueError, match=r"averages plans, sees pictures \(use onnx_controller\.py\)"):
        controller_of(tmp_path / "out", example=MINIMAL)
    export_policy(policy_of(FAMILY["regression"]), tmp_path / "torch", format="torch")
    with pytest.raises(ValueError, match="is guided or no ONNX"):
        controller_of(tmp_path / "torch", example=MINIMAL)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not what was exported"),
        ("[]", "is not what was exported"),
        ("{}", "is not what was exported"),
        ('{"manifest_version": 2}', "has a manifest of version 2; this controller reads version 1"),
    ],
)
def test_another_manifest_is_refused_in_words(tmp_path, text, message):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(SystemExit, match=message):
        controller_of(tmp_path)


def test_averages_of_rotations_are_refused(policy_of, tmp_path):
    """Numbers of two equal rotations may be far apart, and the controller knows no rotations."""
    export_policy(policy_of(FAMILY["regression"], ensemble=Ensemble(0.1)), tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.json"
    about = json.loads(manifest.read_text())
    assert about["rotations"] == []
    manifest.write_text(json.dumps({**about, "rotations": [{"first": 0, "form": "axis-angle"}]}))
    with pytest.raises(SystemExit, match="averages rotations in their group; this controller averages numbers"):
        controller_of(tmp_path / "out")


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


def seen_twice(rng):
    """Pictures of two cameras as the policy takes them, and as the manifest says, one of them resized by Pillow."""
    top, wrist = (rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((48, 64, 3), (80, 120, 3)))
    small = np.asarray(Image.fromarray(wrist).resize((60, 40), Image.Resampling.BILINEAR))
    shown = {"observation.images.top": top, "observation.images.wrist": wrist}
    return shown, {"top": top, "wrist": small}


@pytest.fixture(scope="module")
def pictured(tmp_path_factory):
    """A policy of two cameras, with noise on readings and features, as ONNX."""
    views = (
        View(camera="top", height=48, width=64, crop=(36, 48)),
        View(camera="wrist", height=80, width=120, resize=(40, 60), crop=(36, 36)),
    )
    vision = Vision(views=views, encoder=SmallCnn(channels=4, strides=(2, 2)))
    policy = make_policy(FAMILY["diffusion"], vision=vision, sigma_deploy=0.1, sigma_features=0.05)
    out = tmp_path_factory.mktemp("pictured") / "out"
    export_policy(policy, out)
    return policy, out


def test_a_policy_of_pictures_is_executed(pictured):
    """To within the steps of a byte by which two ways to resize differ."""
    policy, out = pictured
    expected, found = same_actions(policy, out, pictures=seen_twice)
    spread = expected.std(0)
    assert float(np.abs(found - expected).max()) < 0.02 * float(spread.max())


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({}, r"expected pictures of \['top', 'wrist'\], got \[\]"),
        ({"top": (48, 64, 3)}, r"expected pictures of \['top', 'wrist'\], got \['top'\]"),
        (
            {"top": (48, 64, 3), "wrist": (80, 120, 3)},
            r"expected wrist as uint8 \(40, 60, 3\), got uint8 \(80, 120, 3\)",
        ),
        ({"top": (48, 64, 3), "wrist": (40, 60, 3), "third": (4, 4, 3)}, "got \\['third', 'top', 'wrist'\\]"),
    ],
)
def test_missing_and_odd_pictures_are_refused(pictured, images, message):
    controller = controller_of(pictured[1])
    shown = {camera: np.zeros(shape, dtype=np.uint8) for camera, shape in images.items()}
    with pytest.raises(ValueError, match=message):
        controller.act(np.array([100.0, 0.0, 5.0, 100.5]), images=shown)
    assert not controller.window


def test_pictures_have_no_place_on_standard_input(pictured):
    told = subprocess.run(
        [sys.executable, str(EXAMPLE), str(pictured[1])], input="[1, 2, 3, 4]\n", capture_output=True, text=True
    )
    assert told.returncode == 1
    assert told.stderr.strip() == (
        "the policy sees pictures, which no line of text can hold. Call Controller.act instead."
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("written") / "out"
    return export_policy(make_policy(FAMILY["regression"]), out).file.parent


@pytest.fixture
def plain(written, tmp_path):
    """A folder with an exported policy without pictures."""
    return Path(shutil.copytree(written, tmp_path / "out"))


@pytest.mark.parametrize(
    "observation", [[1.0, 2.0, 3.0], [[1.0, 2.0, 3.0, 4.0]], 5.0, [1.0, 2.0, 3.0, np.nan], [np.inf] * 4]
)
def test_odd_observations_are_refused_at_every_step(plain, observation):
    """Also between plans, where no plan would need them yet; the episode goes on after a refusal."""
    controller, seen = controller_of(plain), np.array([100.0, 0.0, 5.0, 100.5])
    expected = controller_of(plain)
    for step in range(6):
        with pytest.raises(ValueError, match="expected an observation of 4 finite numbers, got"):
            controller.act(observation)
        found = controller.act(seen)
        assert (found == expected.act(seen)).all(), step


def test_a_state_that_is_not_finite_moves_no_robot(policy_of, tmp_path):
    export_policy(policy_of(FAMILY["regression"], gains=True), tmp_path / "out")
    controller = controller_of(tmp_path / "out")
    with pytest.raises(ValueError, match=r"the action would be .*nan.*; it was not handed out"):
        controller.act(np.array([100.0, 0.0, 5.0, 100.5]), state=np.full(4, np.nan))


def test_a_folder_may_be_moved(plain, tmp_path):
    seen = np.array([100.0, 0.0, 5.0, 100.5])
    before = controller_of(plain).act(seen)
    moved = tmp_path / "a place" / "elsewhere"
    moved.parent.mkdir()
    plain.rename(moved)
    assert (controller_of(moved).act(seen) == before).all()


def flipped(path):
    """A byte in the middle of the weights is another one."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda out: flipped(out / "policy.onnx"), "policy.onnx is missing or is not what was exported"),
        (lambda out: (out / "policy.onnx").unlink(), "policy.onnx is missing or is not what was exported"),
        (
            lambda out: (out / "policy.onnx").write_bytes(b""),
            "is not what was exported. Export the policy again",
        ),
        (
            lambda out: (out / "manifest.json").unlink(),
            "holds no manifest.json. Write a policy there with: holdfast export",
        ),
    ],
    ids=["flipped", "gone", "empty", "no manifest"],
)
def test_a_damaged_export_is_refused_in_words(plain, damage, message):
    damage(plain)
    with pytest.raises(SystemExit, match=message):
        controller_of(plain)


def test_operators_that_the_runtime_does_not_have_are_refused_in_words(plain):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(plain / "policy.onnx"))
    model.opset_import[0].version = 1000
    onnx.save(model, str(plain / "policy.onnx"))
    about = json.loads((plain / "manifest.json").read_text())
    about["file"]["sha256"] = hashlib.sha256((plain / "policy.onnx").read_bytes()).hexdigest()
    (plain / "manifest.json").write_text(json.dumps(about))
    with pytest.raises(SystemExit, match=r"cannot run .*policy.onnx; it was checked with .*, and needs 1\.14 or newer"):
        controller_of(plain)


def test_a_program_of_pytorch_is_refused_in_words(policy_of, tmp_path):
    export_policy(policy_of(FAMILY["regression"]), tmp_path / "out", format="torch")
    with pytest.raises(SystemExit, match=r"holds policy.pt2; this controller needs an export with --format onnx"):
        controller_of(tmp_path / "out")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("[1, 2]\n", "line 1: expected an observation of 4 finite numbers, got [1.0, 2.0]."),
        ("[100, 0, 5, 100]\nnonsense\n", "line 2: Expecting value: line 1 column 1 (char 0)"),
        ('{"x": 1}\n', "line 1: "),
    ],
)
def test_odd_lines_are_named(plain, lines, message):
    told = subprocess.run([sys.executable, str(EXAMPLE), str(plain)], input=lines, capture_output=True, text=True)
    assert told.returncode == 1
    assert told.stderr.startswith(message)
    assert "Traceback" not in told.stderr


def test_a_guided_plan_is_refused_in_words(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"manifest_version": 1, "realtime": {"way": "guided"}}))
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
