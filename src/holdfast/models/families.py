"""All families, and the model that a family's options stand for."""

from typing import assert_never

from ..errors import RecipeError
from ..tokens import Tokenizer, TokenizerOptions
from .autoregressive import AutoregressiveTokens, AutoregressiveTokensModel
from .base import ChunkModel, Sizes
from .consistency import Consistency, ConsistencyModel
from .diffusion import Diffusion, DiffusionModel
from .energy import Energy, EnergyModel
from .flow import Flow, FlowModel
from .latent import Cvae, CvaeModel
from .meanflow import MeanFlow, MeanFlowModel
from .mip import Mip, MipModel
from .mixture import Mixture, MixtureModel
from .regression import Regression, RegressionModel
from .shortcut import Shortcut, ShortcutModel
from .streaming import Streaming, StreamingModel
from .tokens import IndependentTokens, IndependentTokensModel

__all__ = ["Family", "build_family", "tokenizer_options"]

Family = (
    Regression
    | Mip
    | Diffusion
    | Flow
    | Consistency
    | Shortcut
    | MeanFlow
    | Streaming
    | Mixture
    | IndependentTokens
    | AutoregressiveTokens
    | Cvae
    | Energy
)


def tokenizer_options(options: Family) -> TokenizerOptions | None:
    """The tokenizer that a family must be given fitted; `None` for families without one."""
    match options:
        case IndependentTokens() | AutoregressiveTokens():
            return options.tokenizer
        case _:
            return None


def build_family(options: Family, sizes: Sizes, *, tokenizer: Tokenizer | None = None) -> ChunkModel:
    """An untrained model; its first weights come from PyTorch's global generator.

    Args:
        options: Which family, and its options.
        sizes: Of chunks and observation windows.
        tokenizer: Fitted by the options' tokenizer, for families of tokens.

    Raises:
        RecipeError: A family of tokens without a tokenizer, or with one for other chunks.
    """
    match options:
        case Regression():
            return RegressionModel(options, sizes)
        case Mip():
            return MipModel(options, sizes)
        case Diffusion():
            return DiffusionModel(options, sizes)
        case Flow():
            return FlowModel(options, sizes)
        case Consistency():
            return ConsistencyModel(options, sizes)
        case Shortcut():
            return ShortcutModel(options, sizes)
        case MeanFlow():
            return MeanFlowModel(options, sizes)
        case Streaming():
            return StreamingModel(options, sizes)
        case Mixture():
            return MixtureModel(options, sizes)
        case Cvae():
            return CvaeModel(options, sizes)
        case Energy():
            return EnergyModel(options, sizes)
        case IndependentTokens():
            return IndependentTokensModel(options, sizes, _fitting(tokenizer, sizes))
        case AutoregressiveTokens():
            return AutoregressiveTokensModel(options, sizes, _fitting(tokenizer, sizes))
        case _:
            assert_never(options)


def _fitting(tokenizer: Tokenizer | None, sizes: Sizes) -> Tokenizer:
    if tokenizer is None:
        raise RecipeError("a model of tokens needs a fitted tokenizer. Make one with fit_tokenizer(options, chunks).")
    if (tokenizer.horizon, tokenizer.width) != (sizes.horizon, sizes.width):
        raise RecipeError(
            f"the tokenizer was fitted on chunks of {tokenizer.horizon} steps of {tokenizer.width} numbers, the policy "
            f"plans {sizes.horizon} steps of {sizes.width}. Fit one to these."
        )
    return tokenizer
