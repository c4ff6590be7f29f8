"""Vision transformers of other libraries: DINOv2, CLIP and SigLIP, in the names of Hugging Face's files.

All sizes but the number of heads are those of the weights. A head has 64 numbers, in towers of 1152 numbers (SigLIP
So400m) 72; config.json beside the file, where there is one, says otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from ...errors import DataError, RecipeError, at_least
from .name_layouts import NameLayout, found_in
from .pretrained import Pretrained
from .vision_transformer import Activation, TowerSizes, VisionTransformer, regridded

_NAMES = "patches.weight", "token", "positions", "norm.weight", "blocks.0.mlp.first.weight"
_ACTIVATIONS = {"gelu": "gelu", "quick_gelu": "quick_gelu", "gelu_pytorch_tanh": "gelu_tanh"}

_OF_CLIP = (
    (r"^patches\.", "embeddings.patch_embedding."),
    (r"^token$", "embeddings.class_embedding"),
    (r"^positions$", "embeddings.position_embedding.weight"),
    (r"^first_norm\.", "pre_layrnorm."),
    (r"^norm\.", "post_layernorm."),
    (r"^blocks\.", "encoder.layers."),
    (r"(encoder\.layers\.\d+)\.attention\.(query|key|value|out)", r"\1.self_attn.\2"),
    (r"self_attn\.query", "self_attn.q_proj"),
    (r"self_attn\.key", "self_attn.k_proj"),
    (r"self_attn\.value", "self_attn.v_proj"),
    (r"self_attn\.out", "self_attn.out_proj"),
    (r"(encoder\.layers\.\d+)\.norm", r"\1.layer_norm"),
    (r"mlp\.first", "mlp.fc1"),
    (r"mlp\.second", "mlp.fc2"),
    (r"^collected\.norm\.", "head.layernorm."),
    (r"^collected\.attention\.out\.", "head.attention.out_proj."),
    (r"^collected\.", "head."),
)
_OF_DINOV2 = (
    (r"^patches\.", "embeddings.patch_embeddings.projection."),
    (r"^token$", "embeddings.cls_token"),
    (r"^positions$", "embeddings.position_embeddings"),
    (r"^norm\.", "layernorm."),
    (r"^blocks\.", "encoder.layer."),
    (r"scale(\d)$", r"layer_scale\1.lambda1"),
    (r"mlp\.first", "mlp.fc1"),
    (r"mlp\.second", "mlp.fc2"),
)
_DINOV2_FILES = (
    *_OF_DINOV2,
    (r"attention\.(query|key|value)", r"attention.attention.\1"),
    (r"attention\.out\.", "attention.output.dense."),
)
_DINOV2_NEWER = (
    *_OF_DINOV2,
    (r"attention\.query", "attention.q_proj"),
    (r"attention\.key", "attention.k_proj"),
    (r"attention\.value", "attention.v_proj"),
    (r"attention\.out\.", "attention.o_proj."),
)


@dataclass(frozen=True, kw_only=True)
class PretrainedTransformer(Pretrained):
    """Options of a pre-trained vision transformer.

    Attributes:
        patch: Height and width of a patch [px].
        width: Numbers of a token, which are the features.
        layers: Number of blocks.
        heads: Number of attention heads.
        hidden: Numbers between the two layers of an MLP.
        activation: Between these layers.
        grid: Patches along each side of the pictures of the pre-training.
    """

    patch: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    hidden: int = 3072
    activation: Activation = "gelu"
    grid: int = 14

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, patch=self.patch, width=self.width, layers=self.layers, heads=self.heads, hidden=self.hidden)
        at_least(1, grid=self.grid)
        if self.width % self.heads:
            raise RecipeError(f"expected a width divisible by the {self.heads} heads, got {self.width}.")

    @property
    def n_features(self) -> int:
        return self.width

    @property
    def parts(self) -> TowerSizes:
        """Sizes and parts of the tower."""
        raise NotImplementedError

    def tower(self, size: tuple[int, int]) -> nn.Module:
        return VisionTransformer(self.parts, size)

    def build(self, channels: int, size: tuple[int, int]) -> Any:
        if size[0] % self.patch or size[1] % self.patch or not min(size):
            raise RecipeError(
                f"pictures of {size[0]} × {size[1]} pixels are not divided into patches of {self.patch} × {self.patch} "
                "pixels. Choose another crop of the pictures."
            )
        return super().build(channels, size)

    def shapes(self, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
        return super().shapes((self.grid * self.patch, self.grid * self.patch))

    def fitted(self, weights: Mapping[str, Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
        places = regridded(weights["positions"], size, self.patch, class_token=self.parts.class_token)
        return {**weights, "positions": places}

    @classmethod
    def sized(cls, stored: Mapping[str, Tensor], config: Mapping[str, Any]) -> "Pretrained":
        found = found_in(stored, _NAMES, cls.layouts)
        needed = [name for name in _NAMES if name != "token" or cls().parts.class_token]
        if missing := [name for name in needed if name not in found]:
            written = [cls.layouts[0].written(name) for name in missing]
            raise DataError(f"expected the weights of {cls.layouts[0].name}, but {', '.join(written)} are missing.")
        width, _, patch = found["patches.weight"].shape[:3]
        places = found["positions"].shape[-2] - ("token" in found)
        own = cast("Mapping[str, Any]", config.get("vision_config", config))
        heads = own.get("num_attention_heads", max(width // (72 if width == 1152 else 64), 1))
        layers = 0
        while found_in(stored, [f"blocks.{layers}.mlp.first.weight"], cls.layouts):
            layers += 1
        activation = _ACTIVATIONS.get(str(own.get("hidden_act", "")), cls.activation)
        return cls(
            patch=patch,
            width=width,
            layers=layers,
            heads=int(heads),
            hidden=found["blocks.0.mlp.first.weight"].shape[0],
            activation=cast(Activation, activation),
            grid=round(places**0.5),
        )


@dataclass(frozen=True, kw_only=True)
class Dinov2(PretrainedTransformer):
    """DINOv2 (Oquab et al. 2024, arXiv 2304.07193), without registers: the normalised class token."""

    layouts: ClassVar[tuple[NameLayout, ...]] = (
        NameLayout("DINOv2", _DINOV2_FILES, ("", "dinov2."), r"mask_token|^classifier\."),
        NameLayout("DINOv2", _DINOV2_NEWER, ("", "dinov2."), r"mask_token|^classifier\."),
    )

    patch: int = 14
    width: int = 384
    heads: int = 6
    hidden: int = 1536
    grid: int = 37

    @property
    def parts(self) -> TowerSizes:
        return TowerSizes(
            self.patch, self.width, self.layers, self.heads, self.hidden, self.activation, 1e-6, scaled=True
        )


@dataclass(frozen=True, kw_only=True)
class Clip(PretrainedTransformer):
    """The vision tower of CLIP (Radford et al. 2021, arXiv 2103.00020): the normalised class token."""

    layouts: ClassVar[tuple[NameLayout, ...]] = (
        NameLayout(
            "CLIP", _OF_CLIP, ("vision_model.", "", "model.vision_model."), r"position_ids$|^(text|visual|logit)"
        ),
    )

    patch: int = 32
    grid: int = 7
    activation: Activation = "quick_gelu"
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)

    @property
    def parts(self) -> TowerSizes:
        return TowerSizes(
            self.patch,
            self.width,
            self.layers,
            self.heads,
            self.hidden,
            self.activation,
            1e-5,
            patch_bias=False,
            first_norm=True,
        )


@dataclass(frozen=True, kw_only=True)
class Siglip(PretrainedTransformer):
    """The vision tower of SigLIP (Zhai et al. 2023, arXiv 2303.15343): what a learned query collects."""

    layouts: ClassVar[tuple[NameLayout, ...]] = (
        NameLayout("SigLIP", _OF_CLIP, ("vision_model.", "", "model.vision_model."), r"position_ids$|^(text|logit)"),
    )

    activation: Activation = "gelu_tanh"
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)

    @property
    def parts(self) -> TowerSizes:
        return TowerSizes(
            self.patch, self.width, self.layers, self.heads, self.hidden, self.activation, 1e-6, class_token=False
        )

    def read(self, stored: Mapping[str, Tensor], *, file: str) -> dict[str, Tensor]:
        return super().read(_divided(stored), file=file)


def _divided(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with the joint projection of query, key and value in the head as three."""
    found = dict[str, Tensor]()
    for name, value in stored.items():
        start, joint, kind = name.partition("head.attention.in_proj_")
        if not joint or value.shape[0] % 3:
            found[name] = value
            continue
        for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
            found[f"{start}head.attention.{part}.{kind}"] = third
    return found
