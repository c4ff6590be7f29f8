"""Runs that were written before: a fixture of version 1 loads, acts, resumes, and gives values of today."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from holdfast.data import Isotropic, MeanShift, UniformAsPublished, write
from holdfast.errors import RunError
from holdfast.learn import fit, load_recipe, prepare
from holdfast.models import AverageVelocitySampler, MeanFlow, Shortcut
from holdfast.policy import RUN_VERSION, Policy, PolicySpec, upgrade
from holdfast.recipe import Recipe
from holdfast.schema import from_plain, to_plain
from holdfast.types import Episodes

OLD = Path(__file__).resolve().parents[1] / "fixtures" / "run_version_1"
NAMES = ["diffusion", "uniform-noise"]


@pytest.fixture(scope="module")
def old_demos() -> Episodes:
    """The episodes that the fixture was trained on."""
    return Episodes(**load_file(OLD / "demonstrations.safetensors"), dt=0.02, system="quadrotor2d")


@pytest.fixture
def stopped(tmp_path):
    """A copy of the run that stopped at update 8 of 12."""
    return lambda name: Path(shutil.copytree(OLD / name / "stopped", tmp_path / name))


def assert_same_weights(found: Path, expected: Path) -> None:
    weights, known = load_file(found / "model.safetensors"), load_file(expected / "model.safetensors")
    assert weights.keys() == known.keys()
    for name, value in known.items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_an_old_run_acts_as_it_did(name):
    expected = json.loads((OLD / name / "expected.json").read_text())
    policy = Policy.from_pretrained(OLD / name / "whole", seed=3)
    action = policy.select_action(torch.tensor(expected["state"], dtype=torch.float64))
    # the network computes in float32, whose last bits depend on the processor
    torch.testing.assert_close(action, torch.tensor(expected["action"], dtype=torch.float64), rtol=1e-5, atol=0)


# the fixture's digest includes gains, whose last bits depend on the processor
@pytest.mark.filterwarnings("ignore:.*cannot be checked here:holdfast.errors.RunWarning")
@pytest.mark.filterwarnings("ignore:.*before holdfast stored digests:holdfast.errors.RunWarning")
@pytest.mark.parametrize("name", NAMES)
def test_an_old_run_resumes_to_the_weights_of_the_whole_one(name, stopped, old_demos):
    folder = stopped(name)
    recipe = load_recipe(folder)
    assert fit(recipe, prepare(recipe, old_demos), folder, resume=True).step == 12
    assert_same_weights(folder, OLD / name / "whole")


@pytest.mark.filterwarnings("ignore:.*cannot be checked here:holdfast.errors.RunWarning")
@pytest.mark.filterwarnings("ignore:.*before holdfast stored digests:holdfast.errors.RunWarning")
def test_an_old_run_resumes_from_the_command_line(stopped, old_demos, tmp_path):
    from holdfast.cli import main

    folder = stopped("diffusion")
    write(old_demos, tmp_path / "demonstrations.safetensors")
    stored = json.loads((folder / "recipe.json").read_text())
    stored["data"] = str(tmp_path / "demonstrations.safetensors")
    (folder / "recipe.json").write_text(json.dumps(stored))
    assert main(["train", "--resume", str(folder)]) == 0
    assert_same_weights(folder, OLD / "diffusion" / "whole")


def test_an_old_recipe_has_values_of_today():
    plain, uniform = (load_recipe(OLD / name / "whole") for name in NAMES)
    assert (plain.training.noise_law, plain.policy.execution.noise_law) == (Isotropic(), Isotropic())
    law = UniformAsPublished()
    assert (uniform.training.noise_law, uniform.policy.execution.noise_law) == (law, law)
    assert (uniform.training.sigma_train, uniform.policy.execution.sigma_deploy) == (0.1, 0.1)
    assert from_plain(Recipe, to_plain(uniform)) == uniform


def test_upgrading_is_pure_and_leaves_current_recipes_alone():
    stored = json.loads((OLD / "uniform-noise" / "whole" / "recipe.json").read_text())
    before = json.dumps(stored)
    upgraded = upgrade(stored)
    assert json.dumps(stored) == before
    assert upgraded["version"] == RUN_VERSION == 2
    assert upgrade(upgraded) == upgraded
    # nothing but the version and the two laws is different
    upgraded["training"]["noise_law"] = upgraded["policy"]["execution"]["noise_law"] = "uniform"
    assert upgraded | {"version": 1} == stored


@pytest.mark.parametrize("family", [Shortcut, MeanFlow])
def test_renamed_kinds(family):
    """Samplers of average velocities, and the constant shift, as version 1 wrote them."""
    spec = PolicySpec(n_states=2, n_actions=1, n_observed=2, model=family(sampler=AverageVelocitySampler(steps=2)))
    spec = replace(spec, execution=replace(spec.execution, noise_law=MeanShift()))
    stored = to_plain(spec)
    stored["model"]["sampler"]["kind"] = "JumpSampler"
    stored["execution"]["noise_law"] = "shift"
    assert from_plain(PolicySpec, upgrade({"version": 1, "policy": stored})["policy"]) == spec


@pytest.mark.parametrize("version", [0, 3, None, "2"])
def test_versions_that_are_not_read(version):
    with pytest.raises(RunError, match=rf"in version {version}, but this holdfast reads versions 1 to 2\. Upgrade"):
        upgrade({"version": version})
