"""Table of the families: name on the command line → options around a network.

Adding a family takes its file, with an options class (`FamilyOptions`) that builds its model, one line in `FAMILIES`,
and one line in the contract suite (`CASES` in tests/models/test_contract.py; a test fails until it is there).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated

from ..errors import RecipeError, UnknownNameError
from ..nn import NetworkOptions, ResidualMlp
from ..schema import Alternatives
from ..tokens import TokenizerOptions
from .autoregressive import AutoregressiveTokens
from .average_velocity import AverageVelocitySampler
from .base import FamilyOptions
from .consistency import Consistency
from .diffusion import Diffusion
from .energy import Energy
from .flow import Flow, FlowSampler
from .forcing import forcing
from .latent import Cvae, act
from .meanflow import MeanFlow
from .mip import Mip
from .mixture import Mixture, lstm_gmm
from .regression import Regression
from .shortcut import Shortcut
from .streaming import Streaming
from .token_law import TokenFamily
from .tokens import IndependentTokens, bet, vq_bet
from .tuned import Tuned

FAMILIES: Mapping[str, Callable[[NetworkOptions], FamilyOptions]] = {
    "regression": Regression,
    "mip": Mip,
    "diffusion": Diffusion,
    # as with diffusion, predicting the clean chunk is what a network learns precisely within minutes
    "flow": lambda network: Flow(network, prediction="sample", sampler=FlowSampler(steps=30, eta=1.0)),
    "consistency": lambda network: Consistency(network, steps=2),
    "shortcut": lambda network: Shortcut(network, sampler=AverageVelocitySampler(steps=4)),
    "meanflow": lambda network: MeanFlow(network, sampler=AverageVelocitySampler(steps=4)),
    "streaming": Streaming,
    "forcing": forcing,
    "mixture": Mixture,
    "lstm-gmm": lambda network: lstm_gmm(),
    "tokens": lambda network: IndependentTokens(network=network),
    "autoregressive": lambda network: AutoregressiveTokens(),
    "bet": lambda network: bet(network=network),
    "vq-bet": lambda network: vq_bet(network=network),
    "cvae": lambda network: Cvae(encoder=network, decoder=network),
    "act": lambda network: act(),
    "energy": Energy,
}

FAMILY_NAMES = tuple(FAMILIES)

# fine-tuning makes models of another family, which is stored, but not trained from demonstrations
KINDS = Alternatives((*Alternatives.of(make(ResidualMlp()) for make in FAMILIES.values()).kinds, Tuned))

Family = Annotated[FamilyOptions, KINDS]
"""Options of any family in the table; a stored recipe names their class."""


def family_named(name: str, network: NetworkOptions) -> FamilyOptions:
    """The default options of a family around a network; `lstm-gmm`, `act` and `autoregressive` have their own network.

    Raises:
        UnknownNameError: No family has this name.
    """
    if name not in FAMILIES:
        raise UnknownNameError("family", name, FAMILIES)
    return FAMILIES[name](network)


def tokenizer_options(options: FamilyOptions) -> TokenizerOptions | None:
    """Options of the tokenizer that a family must be given fitted; `None` for families without one."""
    return options.tokenizer if isinstance(options, TokenFamily) else None


def with_tokenizer(family: FamilyOptions, tokenizer: TokenizerOptions) -> FamilyOptions:
    """A family of tokens with another tokenizer.

    Raises:
        RecipeError: The family does not use tokens.
    """
    if not isinstance(family, TokenFamily):
        raise RecipeError(
            f"{type(family).__name__} does not use tokens. Give --family tokens or --family autoregressive with "
            "--tokenizer."
        )
    return replace(family, tokenizer=tokenizer)
