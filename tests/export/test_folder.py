"""The exported folder: ONNX and .pt2 files, the manifest, what is refused, and that nothing is kept after a refusal."""

import hashlib
import json
import zipfile

import numpy as np
import pytest
import torch

import holdfast as hf
from holdfast.errors import ExportError, OutputError
from holdfast.export import export_policy, folder
from holdfast.export.graph import Graph, noted_plan, windows
from holdfast.policy import Policy
from holdfast.policy.realtime import Delay, Guided, RealTime

from .conftest import FAMILY

onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A diffusion policy with gains, noise on its observations and limits, as ONNX."""
    from .conftest import make_policy

    policy = make_policy(
        FAMILY["diffusion"], gains=True, sigma_deploy=0.1, action_low=(-1.0, -2.0), action_high=(1.0, 2.0)
    )
    return policy, export_policy(policy, tmp_path_factory.mktemp("export") / "onnx")


def test_onnx_file_plans_what_the_policy_plans(exported):
    policy, written = exported
    session = onnxruntime.InferenceSession(str(written.file), providers=["CPUExecutionProvider"])
    graph = Graph.of(policy)
    for batch in (1, 2, 5):
        window = windows(graph.plans, batch, seed=100 + batch)
        expected, draws = noted_plan(graph.plans, window, seed=batch)
        given = dict(zip(written.inputs, [window.state, *graph.noise.pack(draws)], strict=True))
        found = session.run(None, {name: value.numpy() for name, value in given.items()})
        for values, part in zip(found, (expected.actions, expected.states, expected.gains), strict=True):
            np.testing.assert_allclose(values, part.numpy(), rtol=1e-5, atol=1e-4)


def test_a_guided_plan_runs_in_onnxruntime(policy_of, tmp_path):
    policy = Policy(policy_of(FAMILY["flow"]).planner, realtime=RealTime(Delay(2), Guided()))
    written = export_policy(policy, tmp_path / "guided", batch=2)
    assert written.inputs == ("observation", "held_action", "guidance", "normal")
    assert written.difference < 5e-6
    manifest = json.loads(written.manifest.read_text())
    assert manifest["checked"]["batches"] == [2, 2, 2]
    assert (manifest["realtime"]["way"], manifest["realtime"]["batch"], manifest["realtime"]["delay"]) == (
        "guided",
        2,
        2,
    )
    assert manifest["realtime"]["prefix_delays"] == []
    shapes = {one["name"]: one["shape"] for one in manifest["inputs"]}
    assert (shapes["held_action"], shapes["guidance"]) == (["batch", 8, 2], ["batch", 8])


def test_onnx_file_uses_the_pinned_operators_and_tells_nothing_of_its_maker(exported):
    _, written = exported
    model = onnx.load(str(written.file))
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import if not one.domain] == [("", 18)]
    assert not {node.op_type for node in model.graph.node} & {"RandomNormal", "RandomNormalLike", "RandomUniform"}
    assert b"holdfast/" not in written.file.read_bytes()
    assert b"site-packages" not in written.file.read_bytes()


def test_manifest_describes_the_graph(exported):
    _, written = exported
    about = json.loads(written.manifest.read_text())
    session = onnxruntime.InferenceSession(str(written.file), providers=["CPUExecutionProvider"])
    for listed, real in ((about["inputs"], session.get_inputs()), (about["outputs"], session.get_outputs())):
        assert [one["name"] for one in listed] == [one.name for one in real]
        assert [one["shape"][1:] for one in listed] == [one.shape[1:] for one in real]
        assert all(isinstance(one.shape[0], str) and one.type == "tensor(float)" for one in real)
    assert about["file"]["sha256"] == hashlib.sha256(written.file.read_bytes()).hexdigest()
    assert about["limits"] == {"low": [-1.0, -2.0], "high": [1.0, 2.0]}
    assert (about["n_obs_steps"], about["horizon"], about["n_action_steps"]) == (2, 8, 4)
    assert about["inputs"][1]["distribution"] == {"law": "normal", "mean": 0.0, "std": 1.0}
    assert 0 < about["checked"]["difference"] < 1e-5


def test_folders_are_refused_or_replaced_with_what_is_ours(exported, policy_of, tmp_path):
    policy = policy_of(FAMILY["regression"])
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"exists already\. Choose another --out, or give --overwrite"):
        export_policy(policy, tmp_path, format="torch")
    (tmp_path / "policy.onnx").write_bytes(b"from before")
    written = export_policy(policy, tmp_path, format="torch", overwrite=True)
    # the graph from before does not belong to the new manifest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "notes.txt", "policy.pt2"]
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert json.loads(written.manifest.read_text())["file"]["name"] == "policy.pt2"
    with pytest.raises(OutputError, match="is a file"):
        export_policy(policy, tmp_path / "notes.txt")


def test_a_program_holds_no_pickle_and_runs(policy_of, tmp_path):
    policy = policy_of(FAMILY["mixture"])
    written = export_policy(policy, tmp_path / "out", format="torch")
    with zipfile.ZipFile(written.file) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    # a pickle of protocol 2 begins with these bytes, a file of torch.save with those of a zip archive
    assert not [name for name, content in contents.items() if content[:2] in (b"\x80\x02", b"PK")]
    assert not [name for name, content in contents.items() if b"site-packages" in content]
    module = torch.export.load(written.file).module()
    graph = Graph.of(policy)
    window = windows(graph.plans, 2, seed=5)
    expected, draws = noted_plan(graph.plans, window, seed=5)
    torch.testing.assert_close(module(window.state, *graph.noise.pack(draws))[0], expected.actions)


@pytest.mark.parametrize("wrong", [lambda value: value + 1.0, lambda value: value * float("nan")])
def test_a_graph_that_plans_something_else_is_not_kept(policy_of, tmp_path, monkeypatch, wrong):
    kind = folder._KINDS["torch"]

    def runner(path):
        return lambda *inputs: [wrong(value) for value in kind.runner(path)(*inputs)]

    monkeypatch.setitem(folder._KINDS, "torch", kind._replace(runner=runner))
    with pytest.raises(ExportError, match="expected the graph to plan what the policy plans"):
        export_policy(policy_of(FAMILY["regression"]), tmp_path / "out", format="torch")
    assert not list(tmp_path.iterdir())


def test_a_refused_export_keeps_the_one_before(policy_of, tmp_path):
    export_policy(policy_of(FAMILY["regression"]), tmp_path / "out", format="torch")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(ExportError, match="search among many candidates"):
        export_policy(policy_of(FAMILY["energy"]), tmp_path / "out", format="torch", overwrite=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FAMILY if name not in ("energy", "autoregressive")])
def test_onnx_of_every_family(policy_of, tmp_path, name):
    """`export_policy` compares with the policy itself, in onnxruntime."""
    policy = policy_of(FAMILY[name], gains=True, sigma_deploy=0.1)
    assert hf.export_policy(policy, tmp_path / "out").difference < 1e-5
