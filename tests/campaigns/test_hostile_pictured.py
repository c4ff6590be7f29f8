"""Hostile run folders of policies that see pictures, of corrections and of estimators: refused in words."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import holdfast as hf
from holdfast.cli import main
from holdfast.data import Frames
from holdfast.errors import HoldfastError
from holdfast.learn import fit, load_estimator, prepare, vision_of
from holdfast.models import Diffusion, Sampler
from holdfast.nn import FilmMlp, SmallCnn
from holdfast.policy.realtime.correction import Correction, CorrectionNet, CorrectionRecipe, CorrectionSizes
from holdfast.policy.realtime.correction_file import load_correction, save_correction
from holdfast.seeding import stream
from holdfast.types import Episodes

from .hostile_pictured import CORRECTIONS, NAMES, VISION


def flights() -> Episodes:
    rng = stream(0, "hostile pictures")
    pictures = torch.randint(256, (24, 24, 24, 3), generator=rng, dtype=torch.uint8)
    states, actions = torch.rand(24, 3, generator=rng), torch.rand(24, 2, generator=rng)
    lengths = torch.tensor([12, 12])
    return Episodes(actions=actions, states=states, lengths=lengths, cameras={"top": Frames(pictures)}, dt=0.1)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run that sees pictures, with a correction of its plans."""
    folder, episodes = tmp_path_factory.mktemp("seeing") / "run", flights()
    recipe = hf.default_recipe(episodes, vision=vision_of(episodes, ["top"]))
    vision = replace(recipe.policy.vision, encoder=SmallCnn(channels=4, strides=(1, 2)), noises=2)
    model = Diffusion(network=FilmMlp(widths=(8, 8), embedding=8), levels=20, sampler=Sampler(steps=4))
    execution = replace(recipe.policy.execution, n_action_steps=2)
    policy = replace(recipe.policy, vision=vision, model=model, horizon=4, execution=execution)
    training = replace(recipe.training, steps=2, batch_size=4, warmup_steps=0, save_every=2, precision="float32")
    recipe = replace(recipe, policy=policy, training=training)
    fit(recipe, prepare(recipe, episodes), folder)
    return folder


@pytest.fixture(scope="module")
def corrected(tmp_path_factory, tiny_recipe, demos) -> Path:
    folder = tmp_path_factory.mktemp("corrected") / "run"
    training = replace(tiny_recipe.training, steps=2, save_every=2, warmup_steps=0)
    recipe = replace(tiny_recipe, training=training)
    fit(recipe, prepare(recipe, demos), folder)
    planner, made = hf.load(folder, fast=False).planner, CorrectionRecipe(widths=(8,))
    net = CorrectionNet(CorrectionSizes.of(planner.spec), made.widths)
    save_correction(folder, Correction.of(planner, net), made, {})
    return folder


def words(refused: pytest.ExceptionInfo[HoldfastError]) -> str:
    """The refusal, which is one line that can be read."""
    said = str(refused.value)
    assert said
    assert "\n" not in said
    assert len(said) < 2000
    return said


def changed(folder: Path, place: Path, build) -> Path:
    found = Path(shutil.copytree(folder, place / "run"))
    build(found)
    return found


def test_the_sound_folders_load(run, corrected):
    assert hf.load(run, fast=False).spec.vision is not None
    load_correction(corrected, hf.load(corrected, fast=False).planner)


@pytest.mark.parametrize("name", VISION)
def test_what_a_policy_sees(run, tmp_path, name):
    folder = changed(run, tmp_path, VISION[name])
    with pytest.raises(HoldfastError) as refused:
        load_estimator(folder) if name.startswith("estimate") else hf.load(folder, fast=False)
    words(refused)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_cameras_reach_no_terminal_and_no_folder(run, tmp_path, name, capsys):
    """Such a policy may load, because a camera may have any name; what is said of it is printable and bounded."""
    folder = changed(run, tmp_path, NAMES[name])
    status = main(["evaluate", str(folder), "--environment", "scalar", "--episodes", "1", "--out", str(tmp_path / "o")])
    said = "".join(capsys.readouterr())
    assert status == 1
    assert "error: " in said
    assert "Traceback" not in said
    assert "\x1b" not in said
    assert len(said) < 4000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.parametrize("name", CORRECTIONS)
def test_corrections(corrected, tmp_path, name):
    planner = hf.load(corrected, fast=False).planner
    folder = changed(corrected, tmp_path, CORRECTIONS[name])
    with pytest.raises(HoldfastError) as refused:
        load_correction(folder, planner)
    assert "residual.safetensors" in words(refused)
