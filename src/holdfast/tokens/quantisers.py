"""The quantisers of the package `vector-quantize-pytorch`."""

from typing import Any, cast

from ..errors import MissingExtraError


def finite_scalar(levels: list[int]) -> Any:
    """Finite scalar quantisation: each number is rounded to one of a few levels.

    Raises:
        MissingExtraError: The package `vector_quantize_pytorch` is not installed.
    """
    return _package().FSQ(levels=levels)


def residual_vector(*, latent: int, groups: int, codes: int) -> Any:
    """Residual vector quantisation, with codebooks as moving averages that are initialised by k-means.

    Raises:
        MissingExtraError: The package `vector_quantize_pytorch` is not installed.
    """
    return _package().ResidualVQ(
        dim=latent,
        num_quantizers=groups,
        codebook_size=codes,
        kmeans_init=True,
        threshold_ema_dead_code=2,
        # straight-through gradients as published; the package's rotation trick costs a third of an update
        rotation_trick=False,
    )


def _package() -> Any:
    try:
        # an extra without types
        import vector_quantize_pytorch as package  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise MissingExtraError("vector_quantize_pytorch", extra="tokens") from error
    return cast(Any, package)
