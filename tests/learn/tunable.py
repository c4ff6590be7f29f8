"""Small policies for the tests of fine-tuning."""

import torch

from holdfast.data import Actions, MinMax
from holdfast.models import Diffusion, Flow, FlowSampler, Mixture, Regression, Sampler
from holdfast.nn import FilmMlp
from holdfast.policy import Execution, Planner, PolicySpec, build_model

NET = FilmMlp(widths=(8, 8), embedding=4, activation="mish", bounded=False)


def diffusion(levels=4, steps=None, prediction="epsilon", clip=None):
    return Diffusion(NET, levels=levels, prediction=prediction, sampler=Sampler(steps or levels, eta=1.0, clip=clip))


def flow(steps=4, prediction="velocity", clip=None):
    return Flow(NET, prediction=prediction, sampler=FlowSampler(steps=steps, eta=1.0, clip=clip))


FAMILIES = {
    "diffusion": diffusion(),
    "diffusion-sample": diffusion(levels=20, steps=5, prediction="sample", clip=0.8),
    "diffusion-velocity": diffusion(prediction="velocity"),
    "flow": flow(),
    "flow-sample": flow(prediction="sample", clip=0.8),
    "gaussian": Regression(NET),
    "mixture": Mixture(NET, components=3, min_std=0.05),
    "mixture-step": Mixture(NET, components=3, scope="step", min_std=0.05),
}


def planner(model, *, horizon=2, n_actions=1, n_observed=1, n_action_steps=1, n_obs_steps=1, seed=0, **execution):
    """A policy in double precision whose scales are the identity."""
    spec = PolicySpec(
        n_states=n_observed,
        n_actions=n_actions,
        n_observed=n_observed,
        codec=Actions(),
        model=model,
        n_obs_steps=n_obs_steps,
        horizon=horizon,
        execution=Execution(n_action_steps=n_action_steps, **execution),
    )
    scales = [MinMax(low=-torch.ones(size), high=torch.ones(size)) for size in (n_observed, n_actions)]
    built = build_model(spec, seed=seed).double().eval()
    return Planner(spec, built, observation_scale=scales[0], code_scale=scales[1])


def changed(model, seed=7, size=0.1):
    """Add noise to all parameters, in place."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value += size * torch.randn(value.shape, generator=rng, dtype=value.dtype)
