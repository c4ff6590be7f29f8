"""A model for stored weights is built without drawing initial values; nothing else about it may differ."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from holdfast.models import FAMILIES, Diffusion, tokenizer_options
from holdfast.nn import NETWORKS, FilmMlp, Gpt
from holdfast.policy.base import Execution, PolicySpec
from holdfast.policy.planner import blank_model, build_model, sizes_of
from holdfast.tokens import Binning, Tokenizer, fit_tokenizer

MLP = FilmMlp(widths=(16,), embedding=8, activation="mish", bounded=False)
MODELS = {name: make(MLP) for name, make in FAMILIES.items()} | {
    name: Diffusion(network) for name, network in NETWORKS.items()
}


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Every tensor that a model holds: weights, buffers that are not stored, and plain attributes."""
    found = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))
    for place, module in model.named_modules():
        found |= {f"{place}.{name}": value for name, value in vars(module).items() if isinstance(value, Tensor)}
    return found


def spec_and_tokenizer(name: str) -> tuple[PolicySpec, Tokenizer | None]:
    model = MODELS[name]
    if tokenizer_options(model) is not None:
        model = replace(model, tokenizer=Binning(bins=8))
    if name == "autoregressive":
        model = replace(model, network=Gpt(layers=1, heads=2, width=16))
    spec = PolicySpec(
        n_states=2, n_actions=1, n_observed=2, model=model, horizon=4, execution=Execution(n_action_steps=1)
    )
    options = tokenizer_options(model)
    draw = torch.Generator().manual_seed(0)
    chunks = torch.rand(64, spec.horizon, sizes_of(spec).width, generator=draw) * 2 - 1
    return spec, None if options is None else fit_tokenizer(options, chunks, dt=0.05, seed=0)


@pytest.mark.parametrize("name", MODELS)
def test_with_all_weights_replaced_it_equals_a_model_that_was_initialised(name: str):
    spec, tokenizer = spec_and_tokenizer(name)
    torch.manual_seed(5)
    full = build_model(spec, seed=3, tokenizer=tokenizer)
    blank = blank_model(spec, tokenizer=tokenizer)
    blank.load_state_dict({key: value.clone() for key, value in full.state_dict().items()}, assign=True)
    expected, found = tensors_of(full), tensors_of(blank)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
        assert (found[key].dtype, found[key].requires_grad) == (value.dtype, value.requires_grad), key


def test_no_random_number_is_drawn():
    spec, _ = spec_and_tokenizer("residual-mlp")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    blank_model(spec)
    assert torch.equal(torch.get_rng_state(), before)
