"""Videos: every row is found by its time, in any order, near or far, with any spacing of key frames."""

import sys
from fractions import Fraction

import av
import pytest
import torch

from holdfast.data.pictures import Frames
from holdfast.data.video import Video, write_video
from holdfast.errors import DataError, MissingExtraError, ShapeError


def coded(rows, height=32, width=48):
    """Pictures that show their own row: six squares, black or white, its binary digits."""
    pictures = torch.zeros(rows, height, width, 3, dtype=torch.uint8)
    for digit in range(6):
        bright = (torch.arange(rows) >> digit) % 2 * 255
        pictures[:, :, 8 * digit : 8 * digit + 8] = bright[:, None, None, None].to(torch.uint8)
    return pictures


def decoded(pictures):
    digits = [(pictures[:, 16, 8 * digit + 4].float().mean(-1) > 127).long() << digit for digit in range(6)]
    return torch.stack(digits).sum(0)


def video(files, seconds, file_of=None, *, tolerance=0.005, shape=(32, 48, 3)):
    owners = torch.zeros(len(seconds), dtype=torch.int64) if file_of is None else torch.as_tensor(file_of)
    times = torch.as_tensor(seconds, dtype=torch.float64)
    return Video(files=tuple(files), file_of=owners, seconds=times, shape=shape, tolerance=tolerance)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "videos" / "top.mp4"
    write_video(path, Frames(coded(60)), torch.arange(60), fps=10)
    return path


ANY_ORDER = torch.tensor([59, 0, 31, 31, 30, 1, 58, 17])


def test_rows_in_any_order(made):
    seen = video([made], torch.arange(60) / 10).read(ANY_ORDER)
    assert torch.equal(decoded(seen), ANY_ORDER)
    assert (seen.int() - coded(60)[ANY_ORDER].int()).abs().float().mean() < 3


def test_all_rows(made):
    assert torch.equal(decoded(video([made], torch.arange(60) / 10).read(torch.arange(60))), torch.arange(60))


def test_two_files_and_an_offset(made, tmp_path):
    write_video(tmp_path / "b.mp4", Frames(coded(60)), torch.arange(40, 60), fps=10)
    both = video([made, tmp_path / "b.mp4"], [2.0, 2.1, 0.0, 0.1, 1.9], [0, 0, 1, 1, 1])
    rows = torch.tensor([3, 0, 2, 4, 1])
    assert decoded(both.read(rows)).tolist() == [41, 20, 40, 59, 21]


@pytest.mark.parametrize("fps", [30, 1 / 0.035, 7.5])
def test_rates(tmp_path, fps):
    write_video(tmp_path / "a.mp4", Frames(coded(40)), torch.arange(40), fps=fps)
    seen = video([tmp_path / "a.mp4"], torch.arange(40) / fps, tolerance=0.01 / fps).read(torch.tensor([39, 7, 20]))
    assert decoded(seen).tolist() == [39, 7, 20]


def test_one_key_frame_and_frames_out_of_order(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as made:
        stream = made.add_stream("libx264", rate=Fraction(10), options={"g": "25", "bf": "3", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for picture in coded(60):
            made.mux(stream.encode(av.VideoFrame.from_ndarray(picture.numpy(), format="rgb24")))
        made.mux(stream.encode())
    reading = video([path], torch.arange(60) / 10)
    assert torch.equal(decoded(reading.read(ANY_ORDER)), ANY_ORDER)
    for row in range(60):
        assert decoded(reading.read(torch.tensor([row]))).tolist() == [row]


def test_gray(made):
    seen = video([made], [1.0], shape=(32, 48, 1)).read(torch.tensor([0]))
    assert seen.shape == (1, 32, 48, 1)
    assert decoded(seen.expand(-1, -1, -1, 3)).tolist() == [10]


def test_nearest_within_the_tolerance(made):
    assert decoded(video([made], [1.004, 0.997]).read(torch.tensor([0, 1]))).tolist() == [10, 10]
    with pytest.raises(DataError, match=r"no picture within 0.0050 s of 1.0300 s: the nearest is at 1.1000 s"):
        video([made], [1.03]).read(torch.tensor([0]))
    with pytest.raises(DataError, match=r"ends at 5.9000 s, but a row is at 7.0000 s"):
        video([made], [7.0]).read(torch.tensor([0]))


def test_damage(made, tmp_path):
    with pytest.raises(DataError, match=r"gone.mp4 is missing or damaged"):
        video([tmp_path / "gone.mp4"], [0.0]).read(torch.tensor([0]))
    (tmp_path / "cut.mp4").write_bytes(made.read_bytes()[:200])
    with pytest.raises(DataError, match=r"cut.mp4 is missing or damaged"):
        video([tmp_path / "cut.mp4"], [0.0]).read(torch.tensor([0]))
    with pytest.raises(DataError, match=r"pictures of \[32, 48\], expected \[48, 64\]"):
        video([made], [0.0], shape=(48, 64, 3)).read(torch.tensor([0]))
    with pytest.raises(ShapeError, match="expected rows from 0 to 0, got -1 to -1"):
        video([made], [0.0]).read(torch.tensor([-1]))


def test_sizes_that_videos_cannot_have(tmp_path):
    for shape in [(31, 48, 3), (32, 47, 3), (32, 48, 1)]:
        pictures = Frames(torch.zeros(2, *shape, dtype=torch.uint8))
        with pytest.raises(DataError, match="even height and width and 3 channels"):
            write_video(tmp_path / "a.mp4", pictures, torch.arange(2), fps=10)


def test_without_the_extra(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"holdfast\[video\]"):
        video([made], [0.0]).read(torch.tensor([0]))
