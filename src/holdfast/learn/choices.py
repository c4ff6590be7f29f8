"""Families, networks and tokenizers by the names that the command line knows, each with options that suit most data."""

from dataclasses import replace
from typing import Literal, assert_never, get_args

from ..errors import RecipeError, UnknownNameError
from ..models import (
    AutoregressiveTokens,
    Consistency,
    Cvae,
    Diffusion,
    Energy,
    Family,
    Flow,
    FlowSampler,
    IndependentTokens,
    JumpSampler,
    MeanFlow,
    Mip,
    Mixture,
    Regression,
    Sampler,
    Shortcut,
    Streaming,
    act,
    bet,
    lstm_gmm,
    tokenizer_options,
    vq_bet,
)
from ..nn import Dit, FilmMlp, Gpt, Lstm, Network, ResidualMlp, Transformer, UNet1d
from ..tokens import Binning, Fast, Fsq, KMeans, ResidualVq, TokenizerOptions

__all__ = [
    "FAMILIES",
    "FamilyName",
    "NetworkName",
    "TokenizerName",
    "family_named",
    "network_named",
    "tokenizer_named",
    "with_tokenizer",
]

FamilyName = Literal[
    "regression",
    "mip",
    "diffusion",
    "flow",
    "consistency",
    "shortcut",
    "meanflow",
    "streaming",
    "mixture",
    "lstm-gmm",
    "tokens",
    "autoregressive",
    "bet",
    "vq-bet",
    "cvae",
    "act",
    "energy",
]
NetworkName = Literal["film-mlp", "residual-mlp", "unet", "transformer", "dit", "lstm"]
TokenizerName = Literal["binning", "kmeans", "residual-vq", "fsq", "fast"]

FAMILIES: tuple[FamilyName, ...] = get_args(FamilyName)


def network_named(name: NetworkName) -> Network:
    """A network with its own defaults."""
    match name:
        case "film-mlp":
            return FilmMlp(activation="mish")
        case "residual-mlp":
            return ResidualMlp()
        case "unet":
            return UNet1d()
        case "transformer":
            return Transformer()
        case "dit":
            return Dit()
        case "lstm":
            return Lstm()
        case _:
            assert_never(name)


def tokenizer_named(name: str) -> TokenizerOptions:
    """A tokenizer with its own defaults.

    Raises:
        UnknownNameError: No such tokenizer.
    """
    match name:
        case "binning":
            return Binning()
        case "kmeans":
            return KMeans()
        case "residual-vq":
            return ResidualVq()
        case "fsq":
            return Fsq()
        case "fast":
            return Fast()
        case _:
            raise UnknownNameError("tokenizer", name, get_args(TokenizerName))


def family_named(name: FamilyName, network: Network, *, sampler: Sampler | None = None) -> Family:
    """A family around a network; `lstm-gmm`, `act` and `autoregressive` bring their own.

    Args:
        name: Which.
        network: What the others are built around.
        sampler: Of diffusion.
    """
    match name:
        case "regression":
            return Regression(network)
        case "mip":
            return Mip(network)
        case "diffusion":
            return Diffusion(network, sampler=sampler or Sampler())
        case "flow":
            # as with diffusion, the clean chunk is what a network of minutes learns precisely
            return Flow(network, prediction="sample", sampler=FlowSampler(steps=30, eta=1.0))
        case "consistency":
            return Consistency(network, steps=2)
        case "shortcut":
            return Shortcut(network, sampler=JumpSampler(steps=4))
        case "meanflow":
            return MeanFlow(network, sampler=JumpSampler(steps=4))
        case "streaming":
            return Streaming(network)
        case "mixture":
            return Mixture(network)
        case "lstm-gmm":
            return lstm_gmm()
        case "tokens":
            return IndependentTokens(network=network)
        case "autoregressive":
            return AutoregressiveTokens(network=Gpt())
        case "bet":
            return bet(network=network)
        case "vq-bet":
            return vq_bet(network=network)
        case "cvae":
            return Cvae(encoder=network, decoder=network)
        case "act":
            return act()
        case "energy":
            return Energy(network)
        case _:
            assert_never(name)


def with_tokenizer(family: Family, tokenizer: TokenizerOptions) -> Family:
    """A family of tokens with another tokenizer.

    Raises:
        RecipeError: The family knows no tokens.
    """
    if tokenizer_options(family) is None:
        raise RecipeError(
            f"{type(family).__name__} knows no tokens. Give --family tokens or --family autoregressive beside "
            "--tokenizer."
        )
    match family:
        case IndependentTokens() | AutoregressiveTokens():
            return replace(family, tokenizer=tokenizer)
        case _:
            return family
