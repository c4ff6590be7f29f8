"""Stacked policies: each does what it would do alone."""

from dataclasses import replace

import pytest
import torch

from holdfast.data import MinMax
from holdfast.errors import RecipeError
from holdfast.models import Diffusion, Flow, Mixture, Regression, Sampler, Sizes, stacked_model
from holdfast.nn import FilmMlp, ResidualMlp, UNet1d
from holdfast.policy import Ensemble, Execution, Planner, Policy, PolicySpec, StackedPolicies, build_model
from holdfast.seeding import Streams, stream
from holdfast.types import Observation

SEEDS, STARTS, STEPS = (3, 3, 8), 4, 7
FILM = FilmMlp(widths=(12, 16), embedding=8, activation="mish", linear_skip=True)


def spec_of(model):
    execution = Execution(n_action_steps=2, clip_observation=1.0)
    return PolicySpec(n_states=3, n_actions=2, n_observed=3, model=model, n_obs_steps=2, horizon=4, execution=execution)


def policies_of(spec, sigmas=(0.0, 0.1, 0.3)):
    """They differ in weights, in scales and in the noise of deployment."""
    found = []
    for index, sigma in enumerate(sigmas):
        span = 1.0 + torch.arange(2 + 3 + 6, dtype=torch.float64) + index
        planner = Planner(
            spec,
            build_model(spec, seed=index),
            observation_scale=MinMax(low=-span[:3], high=span[:3]),
            code_scale=MinMax(low=-0.1 * span, high=0.2 * span),
        )
        found.append(Policy(planner, execution=replace(spec.execution, sigma_deploy=sigma)))
    return found


def actions_of(acts, states):
    acts.reset(5)
    # feedback that depends on the actions, as in flight
    taken = []
    for step in range(STEPS):
        action = acts.act(Observation(state=states), states)
        states = 0.9 * states + 0.1 * torch.cat([action, action[:, :1]], dim=1) + 0.01 * step
        taken.append(action)
    return torch.stack(taken)


@pytest.mark.parametrize(
    "model",
    [
        Diffusion(network=FILM, levels=10, sampler=Sampler(steps=3)),
        Diffusion(network=FILM, levels=10, sampler=Sampler(steps=3, eta=1.0)),
        Flow(network=ResidualMlp(width=16, blocks=1)),
        Regression(network=FILM),
        Diffusion(network=UNet1d(channels=(8, 16), groups=4, embedding=8), levels=10, sampler=Sampler(steps=2)),
    ],
    ids=["film", "ancestral", "flow", "no times", "unet"],
)
def test_each_acts_as_it_would_alone(model, gaussian):
    policies, states = policies_of(spec_of(model)), gaussian(0, STARTS, 3)
    alone = []
    for policy, seed in zip(policies, SEEDS, strict=True):
        policy.reset(seed)
        policy.reset = lambda seed: None  # its own seed, not that of the batch
        alone.append(actions_of(policy, states))
    found = actions_of(StackedPolicies(policies, seeds=SEEDS), states.repeat(3, 1)).view(STEPS, 3, STARTS, 2)
    torch.testing.assert_close(found, torch.stack(alone, dim=1), atol=1e-5, rtol=1e-4)
    assert float((alone[0] - alone[1]).abs().max()) > 1e-2


def test_reset_restarts_the_noise_and_none_lets_it_go_on(gaussian):
    together = StackedPolicies(policies_of(spec_of(Diffusion(network=FILM, levels=10))), seeds=SEEDS)
    state = gaussian(1, 3, 3)

    def act():
        return together.act(Observation(state=state), state)

    together.reset(0)
    first = act()
    together.reset()
    second = act()
    together.reset(0)
    assert torch.equal(act(), first)
    assert not torch.equal(first, second)


def test_streams_give_each_part_its_own():
    both = Streams.of([stream(1, "a"), stream(2, "a")])
    assert isinstance(both, torch.Generator)
    assert [one.initial_seed() for one in both.each] == [stream(s, "a").initial_seed() for s in (1, 2)]


def test_what_differs_is_refused():
    spec = spec_of(Diffusion(network=FILM, levels=10))
    one, two = policies_of(spec)[:2]
    later = Policy(two.planner, execution=replace(spec.execution, n_action_steps=1))
    with pytest.raises(RecipeError, match="same execution settings"):
        StackedPolicies([one, later], seeds=(0, 1))
    with pytest.raises(RecipeError, match="a seed for each"):
        StackedPolicies([one, two], seeds=(0,))
    averaged = Policy(two.planner, execution=replace(spec.execution, ensemble=Ensemble()))
    with pytest.raises(RecipeError, match="keep plans"):
        StackedPolicies([averaged], seeds=(0,))
    other = policies_of(spec_of(Diffusion(network=FILM, levels=11)))[0]
    with pytest.raises(RecipeError, match="agree in family and options"):
        StackedPolicies([one, other], seeds=(0, 1))
    mixture = policies_of(spec_of(Mixture(network=FILM)))[:1]
    with pytest.raises(RecipeError, match="Families that can: Consistency, Diffusion, Flow"):
        StackedPolicies(mixture, seeds=(0,))


def test_networks_of_other_shapes_are_refused():
    options = Diffusion(network=FILM, levels=10)
    sizes = [Sizes(horizon=4, width=width, n_observed=3) for width in (5, 6)]
    with pytest.raises(RecipeError, match="agree in every shape"):
        stacked_model([options.build(size) for size in sizes])
