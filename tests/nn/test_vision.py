"""What holds of every encoder of pictures, and where positions lie whatever the crop."""

import math

import pytest
import torch

from holdfast.errors import RecipeError, ShapeError, UnknownNameError
from holdfast.nn import (
    ENCODERS,
    Cameras,
    Clip,
    Dinov2,
    EfficientNetLite0,
    PictureEncoder,
    ResNet18,
    ResNet18Bn,
    SelfSupervised,
    Siglip,
    SmallCnn,
    SmallVit,
    View,
    Vision,
    encoder_named,
)
from holdfast.nn.vision.spatial import SpatialSoftmax

OPTIONS = [
    SmallCnn(channels=8),
    SmallCnn(channels=4, strides=(2, 1)),
    ResNet18(width=16, points=4),
    SmallVit(patch=8, width=16, layers=1, heads=2, features=6),
    # PyTorch 2.13 writes beyond its memory in the gradient of a 1 × 1 convolution of 4 channels on processors without
    # AVX-512 (seen with stride 2 and channels last); 8 channels are safe
    ResNet18Bn(width=8, frozen=False),
    EfficientNetLite0(frozen=False),
    Dinov2(patch=8, width=16, layers=1, heads=2, hidden=24, frozen=False),
    Clip(patch=8, width=16, layers=1, heads=2, hidden=24, frozen=False),
    Siglip(patch=8, width=16, layers=1, heads=2, hidden=24, frozen=False),
    SelfSupervised(encoder=SmallCnn(channels=4), frozen=False),
    SelfSupervised(encoder=SmallVit(patch=8, width=16, layers=1, heads=2, features=6), frozen=False),
]
every = pytest.mark.parametrize("options", OPTIONS, ids=lambda options: type(options).__name__)


def test_the_whole_table_is_in_this_suite():
    assert {type(options) for options in ENCODERS.values()} <= set(map(type, OPTIONS))


def pictures(count, size=(48, 40), channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 1, *size, channels), generator=generator, dtype=torch.uint8)


def cameras_of(options, **more):
    torch.manual_seed(0)
    return Cameras(Vision(views=(View(camera="top", height=48, width=40, **more),), encoder=options))


@every
@pytest.mark.parametrize("channels", [1, 3])
def test_features_of_each_picture_alone(options, channels):
    cameras, seen = cameras_of(options, channels=channels), pictures(3, channels=channels)
    together = cameras({"top": seen})
    assert together.shape == (3, 1, options.n_features)
    assert together.dtype == torch.float32
    for row in range(3):
        torch.testing.assert_close(cameras({"top": seen[row : row + 1]})[0], together[row], atol=1e-5, rtol=1e-5)


@every
def test_all_weights_learn_and_positions_stay_in_the_picture(options):
    cameras = cameras_of(options)
    features = cameras({"top": pictures(4)})
    points = cameras.encoders[0].n_points
    assert bool((features[..., : 2 * points].abs() <= 1 + 1e-5).all())
    generator = torch.Generator().manual_seed(1)
    (features * torch.randn(features.shape, generator=generator)).sum().backward()
    # a bias of all keys changes all scores of a query alike, and thus no attention
    learned = {name: value for name, value in cameras.named_parameters() if not name.endswith("key.bias")}
    assert [name for name, value in learned.items() if not bool(value.grad.abs().sum() > 1e-9)] == []


def test_a_peak_of_a_map_is_its_position():
    """A map that is active in one cell only: the point is the pixel of that cell."""
    maps = torch.full((1, 1, 6, 5), -100.0)
    maps[0, 0, 4, 1] = 100.0
    x, y = SpatialSoftmax((24, 20), stride=4)(maps)[0].tolist()
    assert math.isclose(x, 2 * 4 / 19 - 1, abs_tol=1e-6)
    assert math.isclose(y, 2 * 16 / 23 - 1, abs_tol=1e-6)


class Brightest(PictureEncoder):
    """Position of the brightest pixel of the first channel, and its brightness."""

    n_points = 1

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(()))

    def forward(self, pictures):
        rows, columns = pictures.shape[2:]
        brightest = pictures[:, 0].flatten(1).argmax(1)
        x, y = (brightest % columns) * 2 / (columns - 1) - 1, (brightest // columns) * 2 / (rows - 1) - 1
        return torch.stack([x, y, pictures[:, 0].flatten(1).amax(1)], dim=1)


def test_positions_are_those_in_the_whole_picture_wherever_it_is_cropped():
    view = View(camera="top", height=20, width=30, crop=(12, 18))
    cameras = Cameras(Vision(views=(view,), encoder=SmallCnn(channels=1)))
    cameras.encoders[0] = Brightest()
    seen = torch.zeros(9, 2, 20, 30, 3, dtype=torch.uint8)
    seen[:, :, 10, 14] = 255
    generator = torch.Generator().manual_seed(0)
    for places in (None, torch.rand(9, 1, 2, generator=generator), torch.ones(9, 1, 2)):
        found = cameras({"top": seen}, places)
        expected = torch.tensor([14 * 2 / 29 - 1, 10 * 2 / 19 - 1, 1.0]).expand(9, 2, 3)
        torch.testing.assert_close(found, expected)


def test_crops_cover_the_whole_picture():
    """Places from 0 to 1 reach the first and the last row and column, all with the same probability."""
    view = View(camera="top", height=20, width=20, crop=(17, 17))
    cameras = Cameras(Vision(views=(view,), encoder=SmallCnn(channels=1)))
    cameras.encoders[0] = Brightest()
    ramp = torch.arange(20, dtype=torch.uint8)[None, None, None, :, None].expand(400, 1, 20, 20, 3)
    places = torch.linspace(0, 0.9999, 400)[:, None, None].expand(400, 1, 2)
    last = (cameras({"top": ramp}, places)[:, 0, 2] + 1) * 127.5
    counts = last.round().long().bincount(minlength=20)[16:]
    assert counts.tolist() == [100, 100, 100, 100]


def test_a_shared_encoder_is_one_encoder():
    views = tuple(View(camera=name, height=48, width=40) for name in ("left", "right"))
    one = Cameras(Vision(views=views, encoder=SmallCnn(channels=4), shared=True))
    two = Cameras(Vision(views=views, encoder=SmallCnn(channels=4)))
    assert 2 * sum(v.numel() for v in one.parameters()) == sum(v.numel() for v in two.parameters())
    seen = pictures(2)
    features = one({"left": seen, "right": seen})
    assert features.shape == (2, 1, 16)
    assert torch.equal(features[..., :8], features[..., 8:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: View(camera="top", height=20, width=20, crop=(30, 10)), "within the 20 × 20 pixels"),
        (lambda: View(camera="top", height=20, width=20, crop=(3,)), "a height and a width"),
        (lambda: View(camera="top", height=9999, width=20), "at most 4096"),
        (lambda: Vision(views=()), "one or more cameras, each of them once, got none"),
        (lambda: Vision(views=(View(camera="a", height=20, width=20),) * 2), "got a, a"),
        (lambda: Vision(views=(View(camera="a", height=20, width=20),), encoder=ResNet18()), "at least 33 pixels"),
        (
            lambda: Vision(
                views=(View(camera="a", height=20, width=20), View(camera="b", height=30, width=20)), shared=True
            ),
            "pictures of one size",
        ),
        (lambda: cameras_of(SmallVit(patch=9, width=8, heads=2)), "not divided into patches"),
        (lambda: SmallCnn(strides=()), "strides of at least 1"),
        (lambda: ResNet18(width=20), "divisible by the 16"),
    ],
)
def test_impossible_pictures_are_refused(make, message):
    with pytest.raises(RecipeError, match=message):
        make()


def test_other_pictures_are_refused():
    cameras = cameras_of(SmallCnn(channels=4))
    with pytest.raises(ShapeError, match="camera 'top', got side"):
        cameras({"side": pictures(1)})
    with pytest.raises(ShapeError, match=r"expected pictures \[48, 40, 3\]"):
        cameras({"top": pictures(1, size=(40, 48))})
    with pytest.raises(UnknownNameError, match="resnet18"):
        encoder_named("resnet19")
