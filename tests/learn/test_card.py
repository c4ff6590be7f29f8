"""What runs on a graphics card, followed without one: on tensors that hold no numbers (PyTorch's device "meta").

Such tensors refuse what would make a card wait: a look at a number, a copy to the host. They refuse to be mixed with
tensors of the host. So an update or a plan that goes through would go through on a card, as far as devices matter.
"""

import contextlib
from dataclasses import fields, is_dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from holdfast import seeding
from holdfast.data import Windows
from holdfast.learn import initial_state, prepare, train
from holdfast.learn.variants_block import block_of
from holdfast.models import FAMILY_NAMES, Diffusion, DiffusionModel, Sampler, family_named
from holdfast.nn import Dit, FilmMlp, Lstm, Recurrent, ResidualMlp, Transformer, UNet1d
from holdfast.policy import build_model
from holdfast.seeding import stream
from holdfast.types import Observation

CARD = torch.device("meta")
OF_TOKENS = {"tokens", "autoregressive", "bet", "vq-bet"}
"""Encoding a chunk looks at its numbers; so do these."""
FAMILIES = sorted(set(FAMILY_NAMES) - OF_TOKENS)
NETWORKS = {
    "film-mlp": FilmMlp(widths=(16, 16), embedding=8),
    "residual-mlp": ResidualMlp(width=16, blocks=1, embedding=8),
    "unet": UNet1d(channels=(8, 16), groups=2, embedding=8),
    "transformer": Transformer(layers=1, heads=2, width=16),
    "dit": Dit(layers=1, heads=2, width=16),
    "lstm": Lstm(width=16),
    "recurrent": Recurrent(width=16),
}
DRAWS = ("randn", "rand", "randint", "randperm", "multinomial")


class OfCard(torch.Generator):
    """A generator that says that it lives on the card."""

    @property
    def device(self):
        return CARD


@pytest.fixture(autouse=True)
def card(monkeypatch):
    """A card's generators, and the few functions of PyTorch that ask for more than a tensor without numbers."""

    def generator(device="cpu"):
        return OfCard() if torch.device(device) == CARD else torch.Generator(device=device)

    def drawing(draw):
        def drawn(*args, generator=None, **options):
            # nothing is drawn where there are no numbers
            own = {} if isinstance(generator, OfCard) else {"generator": generator}
            return draw(*args, **own, **options)

        return drawn

    cast, asked = torch.autocast, torch.is_autocast_enabled
    for name in DRAWS:
        monkeypatch.setattr(torch, name, drawing(getattr(torch, name)))
    of_seeding = SimpleNamespace(Generator=generator, randn=torch.randn, rand=torch.rand)
    monkeypatch.setattr(seeding, "torch", of_seeding)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: kind != CARD.type and asked(kind))
    monkeypatch.setattr(torch, "autocast", lambda kind, *args, **options: unless_card(kind, cast, *args, **options))


def unless_card(kind, cast, *args, **options):
    """PyTorch knows no lower precision for the device that stands for the card."""
    return contextlib.nullcontext() if kind == CARD.type else cast(kind, *args, **options)


class HostTensors(TorchDispatchMode):
    """Notes the operations that take a tensor of the host to the card: each makes the card wait, and no CUDA graph."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [part for part in tree_leaves((args, kwargs)) if isinstance(part, torch.Tensor)]
        made = [part for part in tree_leaves(out) if isinstance(part, torch.Tensor)]
        # single numbers go along with a call
        of_host = [part for part in tensors if part.device.type == "cpu" and part.dim()]
        if of_host and any(part.device == CARD for part in made):
            self.seen.append(str(func))
        return out


def moved(value):
    """A value whose tensors are on the card."""
    if isinstance(value, torch.Tensor):
        return value.to(CARD)
    if isinstance(value, dict):
        return {key: moved(part) for key, part in value.items()}
    if not is_dataclass(value):
        return value
    made = object.__new__(type(value))
    for field in fields(value):
        object.__setattr__(made, field.name, moved(getattr(value, field.name)))
    if isinstance(value, Windows):
        # asked for once, at the beginning
        made.__dict__.update(first_rows=moved(value.first_rows), last_rows=moved(value.last_rows))
    return made


@pytest.fixture
def with_model(tiny_recipe):
    return lambda model: replace(tiny_recipe, policy=replace(tiny_recipe.policy, model=model))


def check_update(recipe, demos):
    data = prepare(recipe, demos)
    # the first update looks at the loss, as one in every few does, and takes the model to the card
    state = replace(moved(initial_state(recipe, data)), step=1)
    updates = train(recipe, moved(data), state)
    next(updates)
    with HostTensors() as host:
        following = next(updates)
    assert following.loss.device == CARD
    assert host.seen == []


def check_plan(recipe):
    model = build_model(recipe.policy).to(CARD)
    spec = recipe.policy
    window = torch.zeros(3, spec.n_obs_steps, spec.n_observed, device=CARD)
    chunk = model.sample(Observation(state=window), rng=stream(0, "tests", device=CARD))
    assert (chunk.device, len(chunk)) == (CARD, 3)
    # what was drawn on the host is taken to the card
    assert model.sample(Observation(state=window), rng=stream(0, "tests")).device == CARD


@pytest.mark.parametrize("name", FAMILIES)
def test_families(with_model, demos, name):
    recipe = with_model(family_named(name, NETWORKS["film-mlp"]))
    check_update(recipe, demos)
    check_plan(recipe)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(with_model, demos, name):
    recipe = with_model(Diffusion(network=NETWORKS[name], levels=20, sampler=Sampler(steps=4)))
    check_update(recipe, demos)
    check_plan(recipe)


def test_variants(tiny_recipe, demos, monkeypatch):
    recipes = [replace(tiny_recipe, seed=seed) for seed in range(3)]
    sets = [prepare(recipe, demos) for recipe in recipes]
    # looked at once, at the beginning
    first, last = ([getattr(one.windows, name) for one in sets] for name in ("first_rows", "last_rows"))
    monkeypatch.setattr(Windows, "__post_init__", lambda self: None)
    states = [moved(initial_state(recipe, one)) for recipe, one in zip(recipes, sets, strict=True)]
    block = block_of((0, 1, 2), recipes, [moved(one) for one in sets], states, compiled=False)
    windows = block.batches.data.windows
    windows.__dict__.update(first_rows=moved(torch.cat(first)), last_rows=moved(torch.cat(last)))
    with HostTensors() as host:
        block.advance(0, 2)
    assert block.losses.device == CARD
    assert host.seen == []


def test_what_would_not_run_on_a_card_is_seen(with_model, demos, monkeypatch):
    """Otherwise what is above would say nothing."""
    recipe = with_model(Diffusion(network=NETWORKS["film-mlp"], levels=20))
    levels = torch.ones(20)
    honest = DiffusionModel.loss

    def of_the_host(self, batch, draws):
        return honest(self, batch, draws) * levels.to(batch.chunk).mean()

    monkeypatch.setattr(DiffusionModel, "loss", of_the_host)
    with pytest.raises(AssertionError, match="copy"):
        check_update(recipe, demos)
    monkeypatch.setattr(DiffusionModel, "loss", lambda *args: honest(*args) * levels)
    with pytest.raises(RuntimeError, match="device"):
        check_update(recipe, demos)
    monkeypatch.setattr(DiffusionModel, "loss", lambda *args: honest(*args) * float(honest(*args).detach()))
    with pytest.raises(RuntimeError, match="meta tensors"):
        check_update(recipe, demos)


def test_the_first_weights_are_where_the_data_are(tiny_recipe, demos):
    """Also the loss that is not there yet: of where it lies a run folder tells where its training was."""
    state = initial_state(tiny_recipe, moved(prepare(tiny_recipe, demos)))
    moments = [state.moments.first, state.moments.second, state.moments.count]
    parts = [value for part in (state.parameters, state.average, *moments) for value in part.values()]
    assert {value.device for value in (*parts, state.loss)} == {CARD}
