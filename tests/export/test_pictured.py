"""Policies that see pictures, of every family and with every encoder: the graph plans what the policy plans."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from holdfast.data.resizing import resized
from holdfast.errors import ExportError
from holdfast.export import export_policy
from holdfast.export.comparison import compare
from holdfast.export.graph import Graph
from holdfast.models import FAMILIES
from holdfast.nn import ResNet18, SmallCnn, SmallVit, View, Vision
from holdfast.nn.vision import ENCODER_NAMES
from holdfast.nn.vision.efficientnet import EfficientNetLite0
from holdfast.nn.vision.resnet_bn import ResNet18Bn
from holdfast.nn.vision.self_supervised import SelfSupervised
from holdfast.nn.vision.towers import Clip, Dinov2, Siglip
from holdfast.policy import Policy
from holdfast.policy.realtime import Delay, Guided, RealTime

from .conftest import FAMILY
from .test_families import REFUSED, largest_difference

CNN = SmallCnn(channels=4, strides=(2, 2))


def seeing(encoder=CNN, **options) -> Vision:
    """Two cameras of different sizes, of which one is resized."""
    views = (
        View(camera="top", height=48, width=64, crop=(36, 48)),
        View(camera="wrist", height=200, width=300, resize=(40, 60), crop=(36, 36)),
    )
    return Vision(views=views, encoder=encoder, **options)


QUICK = ("diffusion", "mixture", "streaming")
"""Families of which one example of each kind is exported; the others are behind the marker."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in FAMILIES if name not in REFUSED],
)
def test_every_family_behind_encoders(policy_of, name):
    policy = policy_of(FAMILY[name], vision=seeing(), sigma_deploy=0.1, sigma_features=0.05)
    assert Graph.of(policy).inputs[:5] == (
        "observation",
        "observation.images.top",
        "observation.images.wrist",
        "observation_noise",
        "feature_noise",
    )
    assert largest_difference(policy) < 5e-6


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_families_are_refused_as_without_pictures(policy_of, name):
    with pytest.raises(ExportError, match="cannot be exported like this"):
        Graph.of(policy_of(FAMILY[name], vision=seeing()))


TOWER = {"patch": 12, "width": 16, "layers": 2, "heads": 2, "hidden": 32}
ENCODERS = {
    "resnet18": ResNet18(width=16),
    "vit": SmallVit(layers=1, width=16, heads=2, features=8),
    "resnet18-bn": ResNet18Bn(width=16),
    "efficientnet-lite0": EfficientNetLite0(),
    "dinov2": Dinov2(**TOWER),
    "clip": Clip(**TOWER),
    "siglip": Siglip(**TOWER),
    "self-supervised": SelfSupervised(encoder=SmallVit(layers=1, width=16, heads=2, features=8)),
}
"""Every encoder of the table, small and of random weights; `cnn` is that of all other tests."""


@pytest.mark.parametrize("name", ENCODERS)
def test_every_kind_of_encoder(policy_of, name):
    assert largest_difference(policy_of(FAMILY["regression"], vision=seeing(ENCODERS[name]))) < 5e-6


def test_every_encoder_is_tested():
    assert {"cnn", *ENCODERS} == set(ENCODER_NAMES)


def test_an_encoder_that_is_trained_has_the_same_graph(policy_of):
    """Its weights are parameters of the model, and not constants as those of a frozen one."""
    encoder = Dinov2(**TOWER, frozen=False)
    assert largest_difference(policy_of(FAMILY["regression"], vision=seeing(encoder))) < 5e-6


@pytest.mark.parametrize("name", [*(pytest.param(one, marks=pytest.mark.slow) for one in ("dinov2", "clip")), "siglip"])
def test_towers_run_in_onnxruntime_for_any_number_of_windows(policy_of, tmp_path, name):
    """The number of pictures, with which their tokens are joined, must not become a constant of the graph."""
    onnxruntime = pytest.importorskip("onnxruntime")
    policy = policy_of(FAMILY["regression"], vision=seeing(ENCODERS[name]))
    written = export_policy(policy, tmp_path / "out")
    assert written.difference < 1e-5
    graph = Graph.of(policy)
    inputs, expected = graph.inputs_of(2, seed=1)
    session = onnxruntime.InferenceSession(str(written.file), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, dict(zip(written.inputs, (one.numpy() for one in inputs), strict=True)))
    np.testing.assert_allclose(found, expected.actions.numpy(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("readings", ["robot", "all", "none"])
def test_readings_and_one_encoder_for_all_cameras(policy_of, readings):
    views = tuple(View(camera=name, height=32, width=32, crop=(28, 28)) for name in ("a", "b"))
    vision = Vision(views=views, encoder=CNN, shared=True, readings=readings)
    graph = Graph.of(policy_of(FAMILY["flow"], vision=vision, gains=True, sigma_deploy=0.1))
    module, example = graph.traced().module(), list(graph.example())
    with torch.no_grad():
        assert compare(graph, module) < 5e-6
        before = module(*example)[0]
        example[0] = example[0] + 1
        assert torch.equal(module(*example)[0], before) == (readings == "none")
        example[1] = 255 - example[1]
        assert not torch.equal(module(*example)[0], before)


def test_a_guided_plan_sees_pictures(policy_of):
    policy = policy_of(FAMILY["flow"], vision=seeing(), sigma_features=0.05)
    graph = Graph.of(Policy(policy.planner, realtime=RealTime(Delay(2), Guided())), batch=2)
    assert graph.inputs[3:6] == ("held_action", "guidance", "feature_noise")
    module = graph.traced().module()
    with torch.no_grad():
        assert compare(graph, module) < 5e-6


def test_the_manifest_tells_how_pictures_are_given(policy_of, tmp_path):
    pytest.importorskip("onnxruntime")
    policy = policy_of(FAMILY["diffusion"], vision=seeing(), sigma_features=0.05)
    written = export_policy(policy, tmp_path / "out")
    assert written.difference < 1e-5
    manifest = json.loads(written.manifest.read_text())
    _, top, wrist, noise, _ = manifest["inputs"]
    assert (top["name"], top["dtype"], top["shape"]) == ("observation.images.top", "uint8", ["batch", 2, 48, 64, 3])
    assert (top["resize"], wrist["shape"][2:], wrist["recorded"]) == (None, [40, 60, 3], [200, 300, 3])
    assert wrist["resize"]["size"] == [40, 60]
    assert (noise["name"], noise["shape"]) == ("feature_noise", ["batch", 2, policy.spec.vision.n_features])
    assert manifest["sigma_features"] == 0.05


def test_the_manifest_tells_how_measurements_become_bytes(policy_of, tmp_path):
    pytest.importorskip("onnxruntime")
    view = View(camera="depth", height=96, width=96, channels=1, resize=(48, 48), crop=(36, 36), depth=(300.0, 1500.0))
    policy = policy_of(FAMILY["diffusion"], vision=Vision(views=(view,), encoder=CNN))
    written = export_policy(policy, tmp_path / "out")
    depth = json.loads(written.manifest.read_text())["inputs"][1]
    assert (depth["depth"]["near"], depth["depth"]["far"], depth["shape"]) == (300, 1500, ["batch", 2, 48, 48, 1])
    assert depth["depth"]["bytes"].startswith("1 + round(254 (clip(d, near, far) - near) / (far - near))")
    # as the manifest says, in words
    rows = np.floor((np.arange(48) + 0.5) * 96 / 48).astype(int)
    picture = np.random.default_rng(0).integers(0, 256, (96, 96, 1), dtype=np.uint8)
    assert depth["resize"]["method"] == "nearest: pixel floor((i + 1/2) old / new) of each axis"
    assert np.array_equal(resized(torch.as_tensor(picture), (48, 48), nearest=True), picture[rows][:, rows])


def test_pillow_resizes_as_the_manifest_says():
    """To within one step of a byte, for pictures that become smaller or larger."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    for size in ((40, 60), (96, 144), (250, 310)):
        ours = resized(torch.as_tensor(picture), size).numpy().astype(int)
        other = np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(ours - other).max() <= 1
