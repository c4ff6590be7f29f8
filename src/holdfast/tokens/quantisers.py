"""The quantisers of `vector-quantize-pytorch`, which this house does not write again."""

from typing import Any, cast

from ..errors import MissingExtraError

__all__ = ["finite_scalar", "residual_vector"]


def finite_scalar(levels: list[int]) -> Any:
    """Rounding of each number to one of a few levels.

    Raises:
        MissingExtraError: The package `vector_quantize_pytorch` is not installed.
    """
    return _package().FSQ(levels=levels)


def residual_vector(*, latent: int, groups: int, codes: int) -> Any:
    """Codebooks, each of what those before it left over, as moving averages that begin as k-means.

    Raises:
        MissingExtraError: The package `vector_quantize_pytorch` is not installed.
    """
    return _package().ResidualVQ(
        dim=latent,
        num_quantizers=groups,
        codebook_size=codes,
        kmeans_init=True,
        threshold_ema_dead_code=2,
        # gradients pass the quantiser as published; the package's rotated ones cost a third of an update
        rotation_trick=False,
    )


def _package() -> Any:
    try:
        # here, because it is an extra; it has no types
        import vector_quantize_pytorch as package  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise MissingExtraError("vector_quantize_pytorch", extra="tokens") from error
    return cast(Any, package)
