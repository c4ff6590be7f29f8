"""Every family: its graph plans what its policy plans from the same noise, or it is refused with the reason."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from holdfast.data import Covariance, MeanShift, UniformAsPublished
from holdfast.errors import ExportError, RecipeError
from holdfast.export import FAMILY_TABLE
from holdfast.export.comparison import BATCHES, compare
from holdfast.export.families import SEARCHES
from holdfast.export.graph import Graph
from holdfast.export.guidance import check_guided
from holdfast.export.windows import windows
from holdfast.models import FAMILIES, AutoregressiveTokens, Diffusion, Flow, FlowSampler, Regression, Sampler
from holdfast.nn import Dit, Lstm, Recurrent, Transformer, UNet1d
from holdfast.policy import Policy
from holdfast.policy.realtime import Delay, Guided, Naive, RealTime, Wait, soft_mask
from holdfast.seeding import Given
from holdfast.types import Observation

from .conftest import FAMILY, FAST, GPT, MLP, VQ

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
REFUSED = {"energy", "autoregressive"}
DRAWN = {
    "regression": {},
    "mip": {},
    "diffusion": {"normal": (1, 8, 2)},
    # one at the start, and one in each step
    "flow": {"normal": (3, 8, 2)},
    "consistency": {"normal": (2, 8, 2)},
    "shortcut": {"normal": (1, 8, 2)},
    "meanflow": {"normal": (1, 8, 2)},
    "streaming": {"normal": (1, 8, 2)},
    # one at the start, and one in each step: actions and following readings
    "forcing": {"normal": (3, 8, 6)},
    "mixture": {"uniform": (1,), "normal": (1, 16)},
    "lstm-gmm": {"uniform": (1, 8), "normal": (1, 8, 2)},
    "tokens": {"uniform": (1, 16)},
    "bet": {"uniform": (1, 8)},
    "vq-bet": {"uniform": (1, 2)},
    "cvae": {"normal": (1, 3)},
    "act": {},
}
NETWORKS = {
    "unet": UNet1d(channels=(8, 16), groups=4, embedding=8),
    "transformer": Transformer(layers=1, heads=2, width=16, embedding=8),
    "dit": Dit(layers=1, heads=2, width=16, embedding=8),
    "lstm": Lstm(layers=1, width=16, embedding=8),
    "recurrent": Recurrent(layers=1, width=16, embedding=8),
}
OTHERS = {
    "ddpm": Diffusion(MLP, levels=5, prediction="epsilon", sampler=Sampler(steps=5, eta=1.0)),
    "second order": Diffusion(MLP, levels=20, prediction="velocity", sampler=Sampler(steps=3, order=2)),
    "heun": Flow(MLP, sampler=FlowSampler(steps=2, method="heun")),
    "codes in turn": AutoregressiveTokens(VQ, GPT),
}


def largest_difference(policy):
    """Between the policy and its traced program, at every number of windows."""
    graph = Graph.of(policy)
    module = graph.traced().module()
    with torch.no_grad():
        return compare(graph, module)


def test_every_family_is_tested():
    assert list(FAMILY) == list(FAMILIES) == [row.family for row in FAMILY_TABLE]
    assert {row.family for row in FAMILY_TABLE if row.reason} == REFUSED
    assert set(DRAWN) == set(FAMILIES) - REFUSED


@pytest.mark.parametrize("name", DRAWN)
def test_the_graph_plans_what_the_policy_plans(policy_of, name):
    assert largest_difference(policy_of(FAMILY[name])) < 2e-6


@pytest.mark.parametrize("name", DRAWN)
def test_noise_inputs_are_what_a_plan_draws(policy_of, name):
    graph = Graph.of(policy_of(FAMILY[name]))
    assert {one.name: one.shape for one in graph.noise.inputs} == DRAWN[name]


SLOWER = ("transformer", "lstm", "ddpm", "heun")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOWER)) for name in (*NETWORKS, *OTHERS)]
)
def test_networks_and_samplers(policy_of, name):
    network = NETWORKS.get(name)
    options = OTHERS[name] if network is None else Diffusion(network, levels=20, sampler=Sampler(steps=1))
    assert largest_difference(policy_of(options)) < 2e-6


def test_packed_weights_are_unpacked(policy_of):
    """Their operations exist for one processor only."""
    assert largest_difference(policy_of(Regression(NETWORKS["unet"])).packed()) < 2e-6


@pytest.mark.parametrize(
    ("name", "words"),
    [("energy", "search among many candidates"), ("autoregressive", "variable lengths.*--tokenizer binning")],
)
def test_refused_families_say_why_and_which_can(policy_of, name, words):
    with pytest.raises(ExportError, match=f"{words}.*can be exported: regression, mip, diffusion"):
        Graph.of(policy_of(FAMILY[name]))


def test_a_buffer_between_plans_is_refused(policy_of):
    with pytest.raises(ExportError, match="buffer between plans"):
        Graph.of(policy_of(FAMILY["streaming"], stream=True))


def test_execution_under_delay_is_refused(policy_of):
    """The graph would drop it without a word."""
    policy = Policy(policy_of(FAMILY["regression"]).planner, realtime=RealTime())
    with pytest.raises(ExportError, match="executed under a delay"):
        Graph.of(policy)


GUIDED = ("diffusion", "flow", "meanflow")


def guided(policy, *, jacobian=True, delay=2):
    return Policy(policy.planner, realtime=RealTime(Delay(delay), Guided(jacobian=jacobian)))


@pytest.mark.parametrize("name", GUIDED)
def test_a_guided_plan_is_exported_with_its_gradient(policy_of, name):
    policy = guided(policy_of(FAMILY[name], gains=name == "flow", sigma_deploy=0.1))
    graph = Graph.of(policy, batch=2)
    held = ("held_action", "held_state", "held_gain") if name == "flow" else ("held_action",)
    assert graph.inputs[: len(held) + 2] == ("observation", *held, "guidance")
    module = graph.traced().module()
    with torch.no_grad():
        assert compare(graph, module) < 5e-6


@pytest.mark.parametrize("family", [Diffusion, Flow])
@pytest.mark.parametrize("delay", [0, 2])
def test_a_guided_plan_takes_clean_first_steps_where_they_were_trained(policy_of, family, delay):
    name = {Diffusion: "diffusion", Flow: "flow"}[family]
    policy = guided(policy_of(replace(FAMILY[name], clean_prefix=True)), delay=delay)
    graph = Graph.of(policy)
    module = graph.traced().module()
    with torch.no_grad():
        assert compare(graph, module) < 5e-6
        window, held, weights, noise = graph.example()
        draws = graph.noise.unpack([noise])

        def expected(known):
            codes = graph.guidance.prefix(policy.planner, (held, known))
            asked = replace(codes, asked=True)
            return graph.plans.plan(Observation(state=window), rng=Given.of(draws), prefix=asked).actions

        # the policy looks at the weights first: all kinds, only clean steps (the way trained), none at all
        firm = (torch.arange(8) < 2).float()[None]
        for known in (weights, firm, 0 * weights):
            (found,) = module(window, held, known, noise)
            torch.testing.assert_close(found, expected(known), rtol=1e-5, atol=1e-5)
        (found,) = module(window, held, firm, noise)
    torch.testing.assert_close(found[:, :2], held[:, :2], rtol=1e-5, atol=1e-5)


def test_a_guided_plan_is_made_for_the_largest_delay(policy_of):
    policy = policy_of(FAMILY["flow"])
    graph = Graph.of(Policy(policy.planner, realtime=RealTime(Delay(0, 2), Guided())))
    assert graph.guidance.delay == 2
    # clean until a plan with that delay is there
    assert graph.example()[-2][0, :3].tolist() == [1.0, 1.0, pytest.approx(soft_mask(8, 4, 2)[2].item())]


def test_the_running_plan_and_its_weights_count(policy_of):
    policy = policy_of(FAMILY["flow"])
    with_jacobian, without = Graph.of(guided(policy)), Graph.of(guided(policy, jacobian=False))
    module, other = with_jacobian.traced().module(), without.traced().module()
    window, held, weights, noise = with_jacobian.example()
    assert weights[0].tolist() == pytest.approx(soft_mask(8, 4, 2).tolist())
    (guided_plan,) = module(window, held, weights, noise)
    assert not torch.allclose(guided_plan, other(window, held, weights, noise)[0])
    # weights of 0 give the plan by itself, whatever is held
    plain = Graph.of(policy)
    draws = plain.noise.unpack([noise])
    expected = plain.plans.plan(Observation(state=window), rng=Given.of(draws)).actions
    torch.testing.assert_close(module(window, held, 0 * weights, noise)[0], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(module(window, held + 1, 0 * weights, noise)[0], expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(guided_plan, expected)


def test_other_ways_under_delay_are_refused_in_words(policy_of):
    for way in (Naive(), Wait()):
        policy = Policy(policy_of(FAMILY["flow"]).planner, realtime=RealTime(Delay(2), way))
        with pytest.raises(ExportError, match=f"{type(way).__name__}, but a graph is one plan.*--realtime guided"):
            Graph.of(policy)
    with pytest.raises(RecipeError, match="expected batch of at least 1, got 0"):
        Graph.of(guided(policy_of(FAMILY["flow"])), batch=0)
    for name in ("streaming", "forcing"):
        refused = rf"guidance of {name.title()} depends on which steps are known.*Export a plan by"
        with pytest.raises(ExportError, match=refused):
            Graph.of(guided(policy_of(FAMILY[name])))
    mixture = Policy(policy_of(FAMILY["mixture"]).planner, realtime=RealTime(Delay(2), Naive()))
    with pytest.raises(ExportError, match=r"Export the policy without realtime\.$"):
        Graph.of(mixture)
    with pytest.raises(ExportError, match=r"Mixture cannot be guided. Guided plans of.*omit --realtime"):
        check_guided(policy_of(FAMILY["mixture"]))
    with pytest.raises(RecipeError, match="Mixture cannot be guided"):
        guided(policy_of(FAMILY["mixture"]))


def test_the_noise_of_a_graph_is_all_its_randomness(policy_of):
    """Two calls with the same inputs agree, other noise gives another chunk, and batch entries are independent."""
    graph = Graph.of(policy_of(FAMILY["flow"], gains=True, sigma_deploy=0.1, clip_observation=1.0))
    module, (window, on_observation, normal) = graph.traced().module(), graph.example()
    assert graph.inputs == ("observation", "observation_noise", "normal")
    first, again = module(window, on_observation, normal), module(window, on_observation, normal)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    other = on_observation.clone()
    other[0] += 1
    changed = module(window, other, normal)[0] != first[0]
    assert changed[0].any()
    assert not changed[1:].any()


@pytest.mark.parametrize(
    ("law", "drawn"),
    [
        (Covariance(((1.0, 0.5, 0, 0), (0.5, 2.0, 0, 0), (0, 0, 1.0, 0), (0, 0, 0, 0.0))), "normal"),
        (UniformAsPublished(), "uniform"),
        (MeanShift(), None),
    ],
)
def test_laws_of_the_noise_on_the_observation(policy_of, law, drawn):
    """Their scales are in the graph; a constant shift draws nothing."""
    policy = policy_of(FAMILY["regression"], sigma_deploy=0.3, noise_law=law)
    assert [one.law for one in Graph.of(policy).noise.inputs] == [drawn] * (drawn is not None)
    assert largest_difference(policy) < 2e-6


def test_windows_outside_the_range_are_clipped_in_the_graph(policy_of):
    graph = Graph.of(policy_of(FAMILY["regression"], clip_observation=1.0))
    module = graph.traced().module()
    window = graph.example()[0]
    above, far = window.clone(), window.clone()
    above[..., 0], far[..., 0] = 512.0, 1e6
    assert torch.equal(module(above)[0], module(far)[0])
    assert not torch.equal(module(window)[0], module(far)[0])


def test_a_difference_above_the_tolerance_is_refused(policy_of):
    """Relative to each coordinate's magnitude: 2 · 0.5 for the first action, 2 · 50 for the second."""
    graph = Graph.of(policy_of(FAMILY["regression"]))
    module = graph.traced().module()
    shifts = [(0.9e-5, 0.0, True), (1.1e-5, 0.0, False), (0, 9e-4, True), (0, 1.1e-3, False)]
    # a graph that plans too little differs as much as one that plans too much
    for first, second, passes in shifts + [(-first, -second, passes) for first, second, passes in shifts]:
        shift = torch.tensor([first, second])
        policy = Graph.of(policy_of(FAMILY["regression"]))
        # the policy's own plan, so that nothing but the shift differs
        answers = iter([policy.plans.plan(one, rng=torch.Generator()).actions.double() for one in asked(policy)])
        run = lambda *_, answers=answers, shift=shift: [next(answers) + shift]  # noqa: E731
        if passes:
            assert compare(graph, run) == pytest.approx(max(abs(first), abs(second) / 100), rel=1e-3)
        else:
            with pytest.raises(ExportError, match=r"within 1e-05 .* got a difference of 1\.1e-05"):
                compare(graph, run)
    with torch.no_grad(), pytest.raises(ExportError, match="difference of nan"):
        compare(graph, lambda *inputs: [module(*inputs)[0] * float("nan")])


def asked(graph):
    return [windows(graph.plans, batch, seed=batch) for batch in BATCHES]


def test_the_reason_names_what_can_be_exported(policy_of):
    with pytest.raises(ExportError) as refused:
        Graph.of(policy_of(FAST))
    named = re.search(r"can be exported: (.*), and", str(refused.value)).group(1).split(", ")
    assert set(named) == set(FAMILIES) - REFUSED
    assert len(set(named)) == len(named)


def test_the_table_of_the_page_is_that_of_the_code():
    table = PAGE.read_text().split("## Which families")[1].split("##")[0]
    rows = re.findall(r"^\| `([\w-]+)` \| (.+?) \|$", table, re.MULTILINE)
    assert [name for name, _ in rows] == list(FAMILIES)
    for name, told in rows:
        assert told.startswith("refused") == (name in REFUSED)
        listed = re.findall(r"`(normal|uniform)`", told)
        assert name in REFUSED or list(DRAWN[name]) == list(dict.fromkeys(listed))
    assert SEARCHES in dict(rows)["energy"]
