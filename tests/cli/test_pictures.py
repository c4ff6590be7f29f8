"""`holdfast train --images`: from stored pictures to a run, and what is said where cameras and options do not fit."""

import json

import pytest
import torch

import holdfast as hf
from holdfast.cli import main
from holdfast.data import Frames
from holdfast.data.video import write_video


@pytest.fixture
def stored(tmp_path):
    """Four episodes with two cameras, one of them large."""
    rng = torch.Generator().manual_seed(0)
    states = [torch.rand(6, 2, generator=rng, dtype=torch.float64) for _ in range(4)]
    episodes = hf.episodes_from_arrays(states, states, dt=0.1)
    cameras = {
        "top": Frames(torch.randint(256, (24, 16, 20, 3), generator=rng, dtype=torch.uint8)),
        "wrist": Frames(torch.randint(256, (24, 132, 140, 3), generator=rng, dtype=torch.uint8)),
    }
    hf.write(hf.types.Episodes(**{**vars(episodes), "cameras": cameras}), tmp_path / "demos")
    return tmp_path / "demos"


def test_a_run_from_pictures(stored, tmp_path, capsys):
    out = tmp_path / "run"
    given = ["--steps", "2", "--threads", "1", "--sigma-features-train", "0.1", "--readings", "none"]
    assert main(["train", str(stored), "--out", str(out), "--images", "top", "wrist", *given]) == 0
    assert "camera" not in capsys.readouterr().out.partition("not seen")[2].partition("\n")[0]
    policy = json.loads((out / "recipe.json").read_text())["policy"]
    top, wrist = policy["vision"]["views"]
    assert (top["resize"], top["crop"], wrist["resize"], wrist["crop"]) == (None, [14, 17], [96, 102], [84, 89])
    assert policy["vision"]["sigma_train"] == policy["execution"]["sigma_features"] == 0.1
    pictures = {
        "observation.images.top": torch.zeros(16, 20, 3, dtype=torch.uint8),
        "observation.images.wrist": torch.zeros(132, 140, 3, dtype=torch.uint8),
    }
    action = hf.load(out).select_action({"observation.state": torch.zeros(2), **pictures})
    assert action.shape == (2,)
    # a whole recipe.json gives the same policy again
    recipe = ["--recipe", str(out / "recipe.json"), "--steps", "1", "--threads", "1"]
    assert main(["train", str(stored), "--out", str(tmp_path / "again"), *recipe]) == 0
    again = json.loads((tmp_path / "again" / "recipe.json").read_text())["policy"]
    assert again == policy


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--images", "side"], "camera 'side'"),
        (["--images"], "expected at least one value after --images"),
        (["--images", "top", "top"], "cameras, each of them once, got top, top"),
        (["--encoder", "vit"], "--encoder is for policies that see pictures. Add --images"),
        (["--encoder", "vit", "--readings", "none"], "--encoder, --readings are for policies that see pictures."),
        (["--images", "top", "--encoder", "resnet18"], "at least 33 pixels"),
        (["--images", "top", "wrist", "--shared-encoder"], "pictures of one size"),
        (["--images", "top", "--seeds", "2"], "one seed at a time"),
        (["--sigma-features-deploy", "0.1"], "Add --images"),
    ],
)
def test_options_that_do_not_fit_are_refused(stored, tmp_path, capsys, options, message):
    status = main(["train", str(stored), "--out", str(tmp_path / "run"), "--steps", "2", *options])
    captured = capsys.readouterr()
    assert status != 0
    assert message in " ".join((captured.out + captured.err).split())


def test_data_without_cameras_are_refused(tmp_path, capsys):
    states = [torch.rand(6, 2, dtype=torch.float64)]
    hf.write(hf.episodes_from_arrays(states, states, dt=0.1), tmp_path / "demos")
    assert main(["train", str(tmp_path / "demos"), "--out", str(tmp_path / "run"), "--images", "img"]) != 0
    said = " ".join(capsys.readouterr().err.split())
    assert "the data have no cameras" in said
    assert "remove --images" in said


def test_inspect_says_how_to_see_pictures(stored, tmp_path, capsys):
    assert main(["inspect", str(stored), "--out", str(tmp_path / "report")]) == 0
    assert "--images top wrist" in " ".join(capsys.readouterr().out.split())


def test_a_film_with_fewer_frames_than_rows(stored, tmp_path, capsys):
    """Before training begins, and not at the update that draws such a row."""
    pytest.importorskip("av")
    films = tmp_path / "films"
    assert main(["convert", str(stored), str(films), "--camera", "top", "--video"]) == 0
    assert "not preserved: camera top" in capsys.readouterr().out
    (film,) = films.rglob("*.mp4")
    write_video(film, hf.read(stored).cameras["top"], torch.arange(20), fps=10)
    # as in sets of other programs, which know no checksums of their films
    info = json.loads((films / "meta" / "info.json").read_text())
    del info["holdfast"]
    (films / "meta" / "info.json").write_text(json.dumps(info))
    given = ["--images", "top", "--steps", "2", "--threads", "1", "--out", str(tmp_path / "run")]
    assert main(["train", str(films), *given]) != 0
    said = " ".join(capsys.readouterr().err.split())
    assert "file-000.mp4 ends at 1.9000 s, but a row is at 2.0000 s. Video and timestamps do not belong" in said
    assert not (tmp_path / "run").exists()
    assert main(["convert", str(stored), str(tmp_path / "other.hdf5"), "--video"]) != 0
    assert "robomimic stores single pictures, not video. Video is stored by: lerobot" in capsys.readouterr().err
