"""Plans from a streaming model's buffer: how a block follows a block, what restarts, and what is refused."""

from dataclasses import replace

import pytest
import torch

from holdfast.data import Actions, MinMax
from holdfast.errors import RecipeError
from holdfast.models import Diffusion, Streaming, StreamingSampler
from holdfast.nn import FilmMlp
from holdfast.policy import Ensemble, Execution, Planner, Policy, PolicySpec, build_model
from holdfast.seeding import stream
from holdfast.types import Observation, Prefix

SPEC = PolicySpec(
    n_states=2,
    n_actions=1,
    n_observed=2,
    codec=Actions(),
    model=Streaming(network=FilmMlp(widths=(16,)), blocks=2, sampler=StreamingSampler(steps=4)),
    n_obs_steps=1,
    horizon=6,
    execution=Execution(n_action_steps=3, stream=True),
)


@pytest.fixture
def planner() -> Planner:
    scale = MinMax(low=torch.tensor([-1.0, -1.0]), high=torch.tensor([1.0, 1.0]))
    actions = MinMax(low=torch.tensor([-2.0]), high=torch.tensor([2.0]))
    return Planner(SPEC, build_model(SPEC, seed=0).eval(), observation_scale=scale, code_scale=actions)


def flown(policy: Policy, steps: int = 9, count: int = 4) -> torch.Tensor:
    policy.reset(5)
    states = torch.linspace(-1, 1, steps)[:, None, None].expand(steps, count, 2)
    return torch.stack([policy.act(Observation(state=state), state) for state in states])


def test_the_blocks_are_those_of_a_buffer_kept_by_hand(planner):
    """Start at the first plan, advance at each further one; every block is executed whole."""
    found = flown(Policy(planner))
    rng, model = stream(5, "policy"), planner.model
    states = torch.linspace(-1, 1, 9)[:, None, None].expand(9, 4, 2)
    buffer, blocks = None, []
    for now in (0, 3, 6):
        window = states[now][:, None]
        buffer = (
            model.start(Observation(state=window), rng=rng)
            if buffer is None
            else model.advance(buffer, Observation(state=window), rng=rng)
        )
        blocks.append(2 * buffer.ready)
    assert torch.allclose(found, torch.cat(blocks, dim=1).transpose(0, 1), atol=1e-6)


def test_a_plan_from_the_buffer_takes_a_block_s_part_of_the_calls(planner):
    calls = []
    planner.model.network.register_forward_hook(lambda *_: calls.append(1))
    policy, counts = Policy(planner), []
    policy.reset(0)
    for _ in range(3):
        calls.clear()
        flown_one_block(policy)
        counts.append(len(calls))
    assert counts == [4, 2, 2]


def flown_one_block(policy: Policy) -> None:
    state = torch.zeros(1, 2)
    for _ in range(3):
        policy.act(Observation(state=state), state)


def test_reset_begins_from_noise_and_predicting_changes_nothing(planner):
    policy = Policy(planner)
    first = flown(policy)
    policy.predict_action_chunk(torch.zeros(4, 2))
    assert torch.equal(flown(policy), first)
    states = torch.linspace(-1, 1, 9)[:, None, None].expand(9, 4, 2)
    policy.reset(5)
    disturbed = []
    for state in states:
        policy.predict_action_chunk(state)
        disturbed.append(policy.act(Observation(state=state), state))
    assert torch.equal(torch.stack(disturbed), first)


def test_an_episode_of_another_batch_size_needs_a_reset_and_gets_its_own_buffer(planner):
    policy = Policy(planner)
    assert flown(policy, count=4).shape[1] == 4
    assert flown(policy, count=2).shape[1] == 2


def test_saved_and_loaded(planner, tmp_path):
    policy = Policy(planner)
    policy.save_pretrained(tmp_path / "run")
    loaded = Policy.from_pretrained(tmp_path / "run")
    assert loaded.spec.execution.stream
    assert torch.equal(flown(loaded), flown(policy))


def test_what_cannot_stream_is_refused(planner):
    with pytest.raises(RecipeError, match="only a Streaming model keeps a buffer between plans, not Diffusion"):
        replace(SPEC, model=Diffusion())
    with pytest.raises(RecipeError, match="expected n_action_steps=3 and no ensemble, got 2"):
        replace(SPEC, execution=replace(SPEC.execution, n_action_steps=2))
    with pytest.raises(RecipeError, match="no ensemble"):
        replace(SPEC, execution=replace(SPEC.execution, ensemble=Ensemble()))
    policy = Policy(planner)
    prefix = Prefix(chunk=torch.zeros(1, 6, 1), weights=torch.ones(6))
    with pytest.raises(RecipeError, match="Give no prefix, or stream=False"):
        policy.executor.plans.plan(Observation(state=torch.zeros(1, 1, 2)), rng=stream(0, "tests"), prefix=prefix)
