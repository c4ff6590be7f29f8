"""Small policies of every family, untrained: a graph must plan what they plan, whatever that is."""

from collections.abc import Callable

import pytest
import torch

from holdfast.data import Actions, Affine, MinMax
from holdfast.models import (
    AutoregressiveTokens,
    AverageVelocitySampler,
    Consistency,
    Cvae,
    Diffusion,
    Energy,
    FamilyOptions,
    Flow,
    FlowSampler,
    Forcing,
    ForcingSampler,
    IndependentTokens,
    MeanFlow,
    Mip,
    Mixture,
    Offsets,
    Regression,
    Sampler,
    Shortcut,
    Streaming,
    StreamingSampler,
    tokenizer_options,
)
from holdfast.nn import FilmMlp, Gpt, Lstm, ResidualMlp, Transformer
from holdfast.policy import Execution, Planner, Policy, PolicySpec
from holdfast.policy.planner import build_model, sizes_of
from holdfast.seeding import stream
from holdfast.tokens import Binning, Fast, KMeans, ResidualVq, fit_tokenizer

MLP = FilmMlp(widths=(16, 16), embedding=8, activation="mish", bounded=False)
GPT = Gpt(layers=1, heads=2, width=16)
ATTENTION = Transformer(layers=1, heads=2, width=16, embedding=8)
VQ = ResidualVq(groups=2, codes=4, latent=4, hidden=16, updates=20, batch_size=32)
FAST = AutoregressiveTokens(Fast(scale=4.0, vocabulary=64), GPT)

FAMILY = {
    "regression": Regression(ResidualMlp(width=16, blocks=1, embedding=8)),
    "mip": Mip(MLP),
    "diffusion": Diffusion(MLP, levels=20, sampler=Sampler(steps=2)),
    "flow": Flow(MLP, prediction="sample", sampler=FlowSampler(steps=2, eta=1.0)),
    "consistency": Consistency(MLP, levels=10, steps=2),
    "shortcut": Shortcut(MLP, sampler=AverageVelocitySampler(steps=2)),
    "meanflow": MeanFlow(MLP, sampler=AverageVelocitySampler(steps=2)),
    "streaming": Streaming(MLP, levels=20, sampler=StreamingSampler(steps=2)),
    "forcing": Forcing(MLP, levels=20, sampler=ForcingSampler(steps=2)),
    "mixture": Mixture(MLP, components=3),
    "lstm-gmm": Mixture(
        Lstm(layers=1, width=16, embedding=8), components=3, scope="step", squash=True, sampling="low_noise"
    ),
    "tokens": IndependentTokens(Binning(bins=16), MLP),
    "autoregressive": FAST,
    "bet": IndependentTokens(KMeans(clusters=5), MLP, focal=2.0, offsets=Offsets(weight=1.0)),
    "vq-bet": IndependentTokens(VQ, MLP, focal=2.0, offsets=Offsets(weight=1.0, penalty="l1")),
    "cvae": Cvae(MLP, MLP, latent=3),
    "act": Cvae(ATTENTION, ATTENTION, latent=3, deploy="zero"),
    "energy": Energy(MLP),
}
"""The default policy of each family in small: the same options where they decide what is drawn."""


@pytest.fixture
def policy_of() -> Callable[..., Policy]:
    """A policy of some options: two actions, two observations of four numbers, chunks of eight steps."""
    return make_policy


def make_policy(options: FamilyOptions, *, gains=False, interface=None, vision=None, **execution) -> Policy:
    spec = PolicySpec(
        n_states=4,
        n_actions=2,
        n_observed=4,
        codec=Affine() if gains else Actions(),
        model=options,
        horizon=8,
        n_obs_steps=2,
        vision=vision,
        execution=Execution(n_action_steps=4, **execution),
    )
    width = sizes_of(spec).width
    wanted = tokenizer_options(options)
    chunks = 2 * torch.rand(200, 8, width, generator=stream(0, "chunks")) - 1
    tokenizer = None if wanted is None else fit_tokenizer(wanted, chunks, seed=0)
    model = build_model(spec, seed=1, tokenizer=tokenizer).eval()
    observed = MinMax(low=torch.tensor([0.0, -3, 5, 100]).double(), high=torch.tensor([512.0, 3, 5, 101]).double())
    sizes = torch.linspace(0.5, 50.0, width).double()
    scales = {"observation_scale": observed, "code_scale": MinMax(low=-sizes, high=2 * sizes)}
    return Policy(Planner(spec, model, **scales, interface=interface))
