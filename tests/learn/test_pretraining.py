"""Pre-training with a folder: the same bytes after a stop, what is held out, and what the linear probe measures."""

import json
from dataclasses import replace

import pytest
import torch

from holdfast.data import Frames, is_picture_folder, read_picture_folder
from holdfast.errors import DataError, OutputError, RecipeError, RunError
from holdfast.learn.pretraining import (
    check_pretraining,
    default_pretraining,
    load_pretraining,
    picture_set,
    pretrain,
    pretraining_model,
    probe_features,
)
from holdfast.learn.pretraining.frames import every
from holdfast.learn.pretraining.probe import ridge_probe
from holdfast.nn import SmallCnn, SmallVit, read_encoder
from holdfast.nn.vision.pretraining import Contrastive, MaskedAutoencoder, VariationalAutoencoder
from holdfast.types import Episodes

EXACT = ["encoder.safetensors", "train_state/state.safetensors", "pretraining.json"]
CNN, VIT = SmallCnn(channels=4, strides=(2, 2)), SmallVit(patch=8, width=16, layers=1, heads=2, features=6)


@pytest.fixture(scope="module")
def shown():
    """A dark square whose place is the state, seen by two cameras."""
    states = torch.rand(48, 2, generator=torch.Generator().manual_seed(0))
    pictures = torch.full((48, 24, 24, 3), 250, dtype=torch.uint8)
    for row, (y, x) in enumerate((states * 18).long().tolist()):
        pictures[row, y : y + 6, x : x + 6] = torch.tensor([20, 60, row], dtype=torch.uint8)
    cameras = {"top": Frames(pictures), "side": Frames(pictures.flip(2)), "touch": Frames(pictures[..., :1])}
    return Episodes(actions=states, states=states, lengths=torch.full((6,), 8), cameras=cameras)


def recipe_for(shown, method, encoder, cameras=("top",), steps=8):
    recipe = default_pretraining(shown, cameras, method=method, encoder=encoder)
    view = [replace(one, crop=(16, 16)) for one in recipe.vision.views]
    training = replace(recipe.training, steps=steps, batch_size=6, save_every=4, warmup_steps=2, precision="float32")
    return replace(recipe, vision=replace(recipe.vision, views=tuple(view)), training=training)


class Stopped(Exception):
    """Ends a training between two checkpoints."""


@pytest.mark.parametrize(
    ("method", "encoder"),
    [
        (VariationalAutoencoder(latent=4), CNN),
        (MaskedAutoencoder(width=16, layers=1, heads=2), VIT),
        (Contrastive(hidden=8, projected=4), CNN),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_stopped_training_ends_on_the_same_bytes(shown, tmp_path, method, encoder):
    recipe = recipe_for(shown, method, encoder)
    pictures = picture_set(recipe, shown)
    pretrain(recipe, pictures, tmp_path / "whole")

    def stop(state):
        if state.step == 6:
            raise Stopped

    with pytest.raises(Stopped):
        pretrain(recipe, pictures, tmp_path / "run", on_step=stop)
    assert load_pretraining(tmp_path / "run") == recipe
    pretrain(recipe, pictures, tmp_path / "run", resume=True)
    for name in EXACT:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8]
    assert all(line["held_out_loss"] is not None for line in lines)
    options, _ = read_encoder(None, tmp_path / "run")
    assert (options.method, options.size, options.channels) == (type(method).__name__, (16, 16), 3)


def test_cameras_are_trained_on_together_and_episodes_held_out(shown):
    recipe = recipe_for(shown, "ae", CNN, cameras=("top", "side"))
    pictures = picture_set(replace(recipe, held_out=0.34), shown)
    assert len(pictures.training) == 2 * 32
    assert len(pictures.held_out) == 2 * 16
    shown_rows = pictures.held_out.read(torch.arange(16))
    same = (shown.cameras["top"].values[:, None] == shown_rows[None]).flatten(2).all(-1)
    rows = same.any(dim=1).nonzero().flatten()
    # whole episodes of eight steps
    assert len(rows) == 16
    assert len(set((rows // 8).tolist())) == 2
    assert picture_set(replace(recipe, held_out=0.0), shown).held_out is None
    assert len(every(pictures.training, 5)) == 5
    with pytest.raises(RecipeError, match="pictures of one size"):
        recipe_for(shown, "ae", CNN, cameras=("top", "touch"))


def test_other_pictures_and_recipes_are_refused(shown, tmp_path):
    recipe = recipe_for(shown, "ae", CNN)
    pictures = picture_set(recipe, shown)
    pretrain(recipe, pictures, tmp_path / "run")
    with pytest.raises(OutputError, match="replace it with --overwrite"):
        pretrain(recipe, pictures, tmp_path / "run")
    other = picture_set(replace(recipe, held_out=0.34), shown)
    with pytest.raises(RunError, match="differ from those"):
        pretrain(recipe, other, tmp_path / "run", resume=True)
    with pytest.raises(RunError, match="was changed"):
        pretrain(replace(recipe, held_out=0.11), pictures, tmp_path / "run", resume=True)
    wider = replace(recipe, vision=replace(recipe.vision, encoder=SmallCnn(channels=6)))
    with pytest.raises(RunError, match="another model"):
        pretrain(wider, pictures, tmp_path / "run", resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(OutputError, match="is not a folder of holdfast pretrain"):
        check_pretraining(tmp_path / "mine", overwrite=True)
    with pytest.raises(RunError, match=r"pretraining\.json is missing"):
        load_pretraining(tmp_path / "mine")


def test_ridge_regression_finds_a_linear_law():
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(400, 3, generator=rng, dtype=torch.float64)
    weights = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    targets = features @ weights + torch.tensor([5.0, 0.0])
    targets[:, 1] = torch.randn(400, generator=rng, dtype=torch.float64)
    found = ridge_probe(features[:300], targets[:300], features[300:], targets[300:])
    # shrunk by λ = 0.001, so that the error is a thousandth of the spread
    assert 1 - float(found.r2[0]) < 1e-4
    assert abs(float(found.r2[1])) < 0.1
    assert float(found.error[1]) == pytest.approx(float(targets[300:, 1].std()), rel=0.05)


def test_the_probe_separates_what_features_know(shown):
    """Positions of spatial softmax on dark pixels give the place of the square; a constant encoder gives nothing."""
    recipe = replace(recipe_for(shown, "ae", SmallCnn(channels=1, strides=(1,))), held_out=0.34)
    views = (replace(recipe.vision.views[0], crop=None),)
    recipe = replace(recipe, vision=replace(recipe.vision, views=views))
    encoder = pretraining_model(recipe).encoder
    with torch.no_grad():
        encoder.layers[0].weight.zero_()
        encoder.layers[0].weight[0, :, 1, 1] = -10
        known = probe_features(recipe, shown, encoder)
        encoder.layers[0].weight.zero_()
        unknown = probe_features(recipe, shown, encoder)
    assert known.mean > 0.95
    assert unknown.mean < 0.1
    assert probe_features(replace(recipe, held_out=0.0), shown, encoder) is None


def picture_files(folder, count=12, size=(20, 24), mode="RGB"):
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new(mode, (size[1], size[0]), number * 10 if mode == "L" else (number * 10, 0, 0)).save(
            folder / f"{number}.png"
        )


def test_a_plain_folder_of_pictures_is_read(tmp_path):
    picture_files(tmp_path / "flat")
    assert is_picture_folder(tmp_path / "flat")
    flat = read_picture_folder(tmp_path / "flat")
    assert (len(flat), len(flat.actions), flat.cameras["pictures"].shape) == (10, 12, (20, 24, 3))
    # 10 comes after 9
    assert flat.cameras["pictures"].read(torch.arange(12))[:, 0, 0, 0].tolist() == [10 * n for n in range(12)]
    for day, count in (("monday", 3), ("tuesday", 5)):
        picture_files(tmp_path / "days" / day, count, mode="L")
    days = read_picture_folder(tmp_path / "days")
    assert days.lengths.tolist() == [3, 5]
    assert days.cameras["pictures"].shape == (20, 24, 1)
    (tmp_path / "flat" / "notes.txt").write_text("x")
    assert not is_picture_folder(tmp_path / "flat")
    assert not is_picture_folder(tmp_path / "nothing")


def test_pictures_of_other_sizes_are_refused(tmp_path):
    picture_files(tmp_path, 3)
    from PIL import Image

    Image.new("RGB", (5, 5)).save(tmp_path / "9.png")
    found = read_picture_folder(tmp_path)
    with pytest.raises(DataError, match="Resize it"):
        found.cameras["pictures"].read(torch.tensor([3]))
    (tmp_path / "0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"0\.png is no picture"):
        read_picture_folder(tmp_path)
