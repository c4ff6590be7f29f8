"""`holdfast pretrain`: from pictures to an encoder, from the encoder to a policy, and what is refused."""

import json
import signal
from dataclasses import replace

import pytest
import torch

import holdfast as hf
from holdfast.cli import main
from holdfast.data import Frames
from holdfast.learn.pretraining import fitting


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    rng = torch.Generator().manual_seed(0)
    states = [torch.rand(6, 2, generator=rng, dtype=torch.float64) for _ in range(5)]
    episodes = hf.episodes_from_arrays(states, states, dt=0.1)
    pictures = torch.randint(256, (30, 32, 40, 3), generator=rng, dtype=torch.uint8)
    cameras = {"top": Frames(pictures), "touch": Frames(pictures[..., :1])}
    place = tmp_path_factory.mktemp("pretrain") / "demos"
    hf.write(replace(episodes, cameras=cameras), place)
    return place


QUICK = ["--steps", "4", "--batch-size", "4", "--save-every", "2"]


def said(capsys):
    printed = capsys.readouterr()
    return " ".join((printed.out + printed.err).split())


@pytest.mark.parametrize("training", ["frozen", "finetune"])
@pytest.mark.parametrize(("method", "camera"), [("vae", "top"), ("mae", "top"), ("contrastive", "touch")])
def test_an_encoder_starts_a_policy(stored, tmp_path, capsys, method, camera, training, monkeypatch):
    monkeypatch.setenv("HOLDFAST_CACHE", "off")
    out, run = tmp_path / "eyes", tmp_path / "run"
    assert main(["pretrain", str(stored), "--method", method, "--images", camera, "--out", str(out), *QUICK]) == 0
    assert f"--images {camera} --encoder-weights {out}" in said(capsys)
    assert (out / "pictures.png").read_bytes().startswith(b"\x89PNG")
    result = json.loads((out / "result.json").read_text())
    assert result["steps"] == 4
    assert result["held_out_loss"] is not None
    assert len(result["r2_trained_each"]) == 2
    given = ["--images", camera, "--encoder-weights", str(out), "--encoder-training", training, "--steps", "2"]
    assert main(["train", str(stored), "--out", str(run), "--threads", "1", *given]) == 0
    recipe = hf.learn.load_recipe(run)
    assert recipe.policy.vision.frozen is (training == "frozen")
    assert recipe.policy.vision.encoder.weights
    out.rename(tmp_path / "away")
    assert main(["train", "--resume", str(run)]) == 0
    shown = torch.zeros(32, 40, 3 if camera == "top" else 1, dtype=torch.uint8)
    action = hf.load(run).select_action({"observation.state": torch.zeros(2), f"observation.images.{camera}": shown})
    assert action.shape == (2,)


def test_a_stopped_training_is_continued(stored, tmp_path, capsys, monkeypatch):
    out, whole, states = tmp_path / "eyes", tmp_path / "whole", fitting.states

    def stopped(*arguments):
        for state in states(*arguments):
            if state.step == 3:
                signal.raise_signal(signal.SIGTERM)
            yield state

    monkeypatch.setattr(fitting, "states", stopped)
    options = ["--images", "top", "--method", "ae", *QUICK]
    assert main(["pretrain", str(stored), "--out", str(out), *options]) == 143
    assert f"stopped at step 3; continue with: holdfast pretrain --resume {out}" in said(capsys)
    monkeypatch.undo()
    assert main(["pretrain", "--resume", str(out)]) == 0
    assert main(["pretrain", str(stored), "--out", str(whole), *options]) == 0
    assert (out / "encoder.safetensors").read_bytes() == (whole / "encoder.safetensors").read_bytes()
    assert main(["pretrain", "--resume", str(out), "--steps", "9"]) == 1
    assert "Remove --steps" in said(capsys)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--images", "side"], "camera 'side'"),
        (["--method", "mae", "--images", "top", "--encoder", "cnn"], "Add --encoder vit, or choose --method"),
        (["--images", "top", "--share", "0.5"], "the method vae has no share. Remove --share"),
        ([], "one encoder is trained on pictures of one size"),
        (["--images", "top", "--encoder", "resnet18"], "at least 33 pixels"),
        (["--images", "top", "--method", "contrastive", "--batch-size", "1"], "batch_size of 2 or more"),
    ],
)
def test_what_does_not_fit_is_refused(stored, tmp_path, capsys, options, message):
    assert main(["pretrain", str(stored), "--out", str(tmp_path / "eyes"), *options]) == 1
    assert message in said(capsys)
    assert not (tmp_path / "eyes").exists()


def test_encoders_of_other_pictures_are_refused(stored, tmp_path, capsys):
    out = tmp_path / "eyes"
    assert main(["pretrain", str(stored), "--images", "top", "--method", "ae", "--out", str(out), *QUICK]) == 0
    train = ["train", str(stored), "--out", str(tmp_path / "run"), "--encoder-weights", str(out)]
    capsys.readouterr()
    assert main([*train, "--images", "touch"]) == 1
    assert "pre-trained on pictures of 3 channels, got pictures of 1" in said(capsys)
    assert main([*train, "--images", "top", "--encoder", "vit"]) == 1
    assert "holds a pre-trained cnn, not vit" in said(capsys)
    assert main(["evaluate", str(out)]) == 1
    assert "holds an encoder of holdfast pretrain, not a policy" in said(capsys)


def test_a_folder_of_pictures(tmp_path, capsys):
    from PIL import Image

    (tmp_path / "frames").mkdir()
    for number in range(20):
        Image.new("RGB", (24, 16), (number * 10, 20, 30)).save(tmp_path / "frames" / f"{number}.jpg")
    out = tmp_path / "eyes"
    assert main(["pretrain", str(tmp_path / "frames"), "--out", str(out), *QUICK]) == 0
    printed = said(capsys)
    assert "18 pictures (2 more are held out)" in printed
    assert f"--images CAMERA --encoder-weights {out}" in printed
    assert "r2_trained" not in json.loads((out / "result.json").read_text())
