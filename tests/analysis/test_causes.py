"""Causes: in small worlds in which one thing is wrong, the first cause is that thing, and its test confirms it."""

import json
from dataclasses import replace

import pytest
import torch

from holdfast.analysis.diagnosis import Cause, Confirmation, diagnose
from holdfast.analysis.diagnosis.causes.altered import EarlyPhase, LateObservation, LatePhase
from holdfast.analysis.diagnosis.causes.clones import fit_clone
from holdfast.analysis.diagnosis.causes.ranking import ranked
from holdfast.analysis.diagnosis.causes.response import response_of
from holdfast.analysis.diagnosis.page import write_diagnosis
from holdfast.data import Preparation, prepared, select
from holdfast.envs import Environment, PlainPolicy, Step, rollout, with_bounds
from holdfast.errors import RecipeError
from holdfast.evaluation import fixed_starts
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation

COUNT, STEPS = 24, 60


class Cart(Environment):
    """x' = v, v' = 2 x + a: falls over unless it is balanced; the goal is to rest at g.

    Args:
        order: Order of the observed coordinates of (x, v, g).
        units: Factor of each observed coordinate, before they are ordered.
        bound: Largest force; `None` for any.
        dt: Duration of a step [s]; the simulation takes steps of 0.05 s, or shorter ones.
        late: Steps after which a force acts.
        dead: Whether the speedometer is broken.
    """

    n_actions = 1

    def __init__(self, order=(0, 1, 2), units=(1, 1, 1), bound=None, dt=0.05, steps=STEPS, late=0, dead=False):
        self.name, self.dt, self.steps, self.late, self.dead = "cart", dt, steps, late, dead
        self.order, self.units = list(order), torch.tensor(units, dtype=torch.float64)
        if bound is not None:
            self.action_bounds = torch.tensor([-bound], dtype=torch.float64), torch.tensor([bound], dtype=torch.float64)

    def reset(self, starts):
        drawn = [torch.rand(2, generator=stream(seed, "cart"), dtype=torch.float64) * 2 - 1 for seed in starts]
        begun = torch.stack(drawn)
        self.x, self.v, self.goal, self.pending = begun[:, 0], torch.zeros(len(begun)).double(), begun[:, 1], []
        return Step.first(self.seen(), self.seen().state)

    def seen(self):
        v = 0 * self.v if self.dead else self.v
        return Observation(state=(torch.stack([self.x, v, self.goal], dim=1) * self.units)[:, self.order])

    def step(self, actions):
        self.pending.append(actions[:, 0])
        force = self.pending.pop(0) if len(self.pending) > self.late else self.pending[0] * 0
        self.v = (self.v + self.dt * (2 * self.x + force)).clamp(-20, 20)
        self.x = (self.x + self.dt * self.v).clamp(-10, 10)
        solved = ((self.x - self.goal).abs() < 0.05) & (self.v.abs() < 0.2)
        first = Step.first(self.seen(), self.seen().state)
        return replace(first, reward=-(self.x - self.goal).abs(), success=solved)


def expert(seen):
    x, v, goal = seen.T
    return (-2 * x - 16 * (x - goal) - 7 * v)[:, None]


def demonstrations(policy=expert, noise=0.3, seed=0, count=40, **options) -> Episodes:
    """Episodes of a policy whose hand trembles a little."""
    rng = stream(seed, "tests", "hand")

    def trembling(seen):
        action = policy(torch.as_tensor(seen))
        return action + noise * torch.randn(action.shape, generator=rng, dtype=torch.float64)

    own = Cart(**options)
    return rollout(PlainPolicy(trembling, batched=True), own, starts=range(count), steps=own.steps).episodes


def examined(policy, environment, shown, *, steps=None, **options):
    starts = fixed_starts(environment, COUNT, steps=steps)
    return diagnose(policy, starts, demonstrations=shown, sweeps=False, **options)


def late_observations(shown: Episodes, steps: int) -> Episodes:
    """Every observation replaced by that of some steps before; the first is repeated."""
    begins = shown.starts.repeat_interleave(shown.lengths)
    rows = torch.maximum(torch.arange(len(shown.actions)) - steps, begins)
    return replace(shown, states=shown.states[rows], observations=None)


@pytest.fixture(scope="module")
def shown() -> Episodes:
    return demonstrations()


def test_a_control_has_no_causes(shown):
    found = examined(fit_clone(shown), Cart(), shown)
    assert found.estimates["success"].mean > 0.9
    assert [cause for cause in found.causes if cause.severity != "note"] == []


def test_another_order_of_the_observation(shown):
    """The environment gives (g, x, v) to a policy of (x, v, g): entries 1, 2 and 0 of its observation are right."""
    found = examined(fit_clone(shown), Cart(order=(2, 0, 1)), shown)
    first = found.causes[0]
    assert (first.check, first.severity, first.confirmed.answer) == ("first observation", "error", "yes")
    assert first.confirmed.values["order"] == [1, 2, 0]
    assert first.confirmed.values["explains"] > 0.8


def test_starts_elsewhere_are_normal_with_few_demonstrations(shown):
    few = select(shown, [0, 1, 2, 3])
    found = examined(fit_clone(shown), Cart(order=(2, 0, 1)), few)
    assert "first observation" not in [cause.check for cause in found.causes]


def test_other_units(shown):
    """The environment measures x and v in millimetres, the goal in metres; the policy was trained on metres."""
    found = examined(fit_clone(shown), Cart(units=(1000, 1000, 1)), shown)
    first = found.causes[0]
    assert (first.check, first.confirmed.answer) == ("first observation", "yes")
    assert first.confirmed.values["scale"] == [pytest.approx(0.001), pytest.approx(0.001), 1]


def test_a_dead_sensor(shown):
    found = examined(fit_clone(shown), Cart(dead=True), shown)
    first = found.causes[0]
    assert first.check == "dead observation"
    assert first.values["coordinates"] == ["observation[1]"]


def test_actions_that_are_off_by_a_constant(shown):
    """A leader that is displaced by 3: the recorded action is the executed one plus 3."""
    off = replace(shown, actions=shown.actions + 3.0)
    found = examined(fit_clone(off), Cart(), off)
    first = found.causes[0]
    assert (first.check, first.confirmed.answer) == ("offset", "yes")
    assert first.values["offset"] == [pytest.approx(3.0, abs=0.1)]


@pytest.mark.parametrize("steps", [1, 3])
def test_late_observations(shown, steps):
    late = late_observations(shown, steps)
    found = examined(fit_clone(late), Cart(), late)
    lag = next(cause for cause in found.causes if cause.check == "lag")
    assert lag.values == {"lag_data": steps, "lag_environment": 0, "steps": steps}
    assert f"--shift-actions {-steps}" in lag.remedy
    # and the advice restores what was recorded, up to the steps at the start that were never seen
    restored = prepared(late, Preparation(shift_actions=-steps))
    row = int(shown.starts[3]) + 10
    place = (restored.states == late.states[row]).all(dim=1).nonzero()[0, 0]
    assert restored.actions[place] == shown.actions[row - steps]


def test_an_environment_that_delays(shown):
    found = examined(fit_clone(shown), Cart(late=3), shown)
    lag = next(cause for cause in found.causes if cause.check == "lag")
    assert lag.values == {"lag_data": 0, "lag_environment": 3, "steps": -3}


def test_a_delay_that_both_have_is_no_cause():
    late = demonstrations(policy=lambda seen: expert(seen) / 3, late=2)
    found = examined(fit_clone(late), Cart(late=2), late)
    assert "lag" not in [cause.check for cause in found.causes]


def test_rates_that_differ(shown):
    found = examined(fit_clone(shown), Cart(dt=0.01, steps=5 * STEPS), shown)
    rates = next(cause for cause in found.causes if cause.check == "rates")
    assert rates.values["ratio"] == pytest.approx(5)
    assert "5 times as fast" in rates.what


def test_clipped_actions(shown):
    """Forces of up to 30 were demonstrated, the environment allows 1.5: too few to balance from afar."""
    found = examined(fit_clone(shown), Cart(bound=1.5), shown)
    first = found.causes[0]
    assert (first.check, first.confirmed.answer) == ("clipping", "yes")
    assert first.confirmed.values["after"].mean > 0.9


def test_bounds_are_the_environments_own_again_after_a_test():
    cart = Cart(bound=1.5)
    with with_bounds(cart, torch.tensor([-9.0]), torch.tensor([1.0])):
        assert [float(end) for end in cart.action_bounds] == [-9.0, 1.5]
    assert [float(end) for end in cart.action_bounds] == [-1.5, 1.5]
    with pytest.raises(RecipeError, match="no bounds"), with_bounds(Cart(), torch.zeros(1), torch.ones(1)):
        pass


def test_an_observation_that_lacks_the_velocity(shown):
    class Blind(Cart):
        def seen(self):
            full = super().seen().state
            return Observation(state=full[:, [0, 2]])

    blind = replace(shown, states=shown.states[:, [0, 2]], final_states=None, observations=None)
    found = examined(fit_clone(blind), Blind(), blind)
    first = found.causes[0]
    assert (first.check, first.confirmed.answer) == ("history", "yes")
    assert first.values["r2_one"] < 0.95 < first.values["r2_two"]
    assert "--n-obs-steps 2" in first.remedy


def test_a_policy_that_stays_where_it_is(shown):
    """Its force balances gravity and nothing else."""
    found = examined(PlainPolicy(lambda seen: -2 * seen[:, :1] - 5 * seen[:, 1:2], batched=True), Cart(), shown)
    stuck = next(cause for cause in found.causes if cause.check == "stuck")
    assert stuck.values["never_moved"] == stuck.values["resting"] >= 20


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_rollouts_that_are_too_short_leave_every_cause_open(shown, steps):
    """Nothing solves the task in so few steps, and nothing comes to rest in them."""
    marked = replace(shown, episode_columns={"success": torch.arange(len(shown)) % 3 > 0})
    found = examined(fit_clone(marked), Cart(), marked, steps=steps)
    assert "stuck" not in {cause.check for cause in found.causes}
    assert {cause.confirmed.answer for cause in found.causes} <= {"open"}
    assert any("Diagnose with more --steps" in cause.confirmed.test for cause in found.causes)


def test_a_policy_worse_than_its_data(shown):
    """Nothing is wrong with the demonstrations: a regression on them solves the task."""
    found = examined(PlainPolicy(lambda seen: -2.0 * seen[:, :1], batched=True), Cart(), shown)
    training = next(cause for cause in found.causes if cause.check == "training")
    assert training.confirmed.answer == "yes"


class Fork(Environment):
    """A point that moves to the right at constant speed; the action is its speed upwards. Task: x = 1 and |y| > 0.3."""

    name, dt, steps, n_actions = "fork", 0.05, 30, 1

    def reset(self, starts):
        self.y = torch.stack([torch.randn(1, generator=stream(seed, "fork")).double()[0] for seed in starts]) * 0.02
        self.x = torch.zeros_like(self.y)
        return self.now()

    def now(self):
        state = torch.stack([self.x, self.y], dim=1)
        return Step.first(Observation(state=state), state)

    def step(self, actions):
        self.x, self.y = self.x + 1 / self.steps, self.y + self.dt * actions[:, 0]
        return replace(self.now(), success=(self.x > 0.99) & (self.y.abs() > 0.3))


def forking(share: float):
    """A policy that goes up in a share of the episodes, by lot, and down in the others."""
    sides = {}

    def act(seen):
        if "side" not in sides:
            rng = stream(7, "tests", "fork")
            sides["side"] = torch.where(torch.rand(len(seen), generator=rng) < share, 1.0, -1.0).double()[:, None]
        return sides["side"]

    return PlainPolicy(act, batched=True, on_reset=lambda seed: sides.clear())


@pytest.fixture(scope="module")
def forked() -> Episodes:
    return rollout(forking(0.5), Fork(), starts=range(40)).episodes


def test_one_way_where_the_demonstrations_take_two(forked):
    found = examined(forking(1.0), Fork(), forked)
    missing = next(cause for cause in found.causes if cause.check == "modes missing")
    assert sorted(missing.values["rollouts"]) == [0, COUNT]
    assert sum(missing.values["shares"]) == pytest.approx(1)
    # 24 of 24 on one side of two that were equally likely, up to the 40 demonstrations' own shares
    assert missing.confirmed.values["probability"] < 0.7**COUNT


def test_both_ways_are_no_cause(forked):
    found = examined(forking(0.5), Fork(), forked)
    assert not {"modes missing", "hesitation"} & {cause.check for cause in found.causes}


def test_hesitating_between_two_ways(forked):
    found = examined(forking(0.5), Fork(), forked)
    between = examined(PlainPolicy(lambda seen: 0.0 * seen[:, :1], batched=True), Fork(), forked)
    assert "hesitation" not in [cause.check for cause in found.causes]
    hesitation = next(cause for cause in between.causes if cause.check == "hesitation")
    assert hesitation.values["between"] > 0.8
    assert hesitation.values["demonstrated_between"] == 0


def test_the_lag_of_a_response():
    """x[t + 1] = x[t] + a[t − 2], with white a: the action of two steps ago explains everything, others nothing."""
    rng = stream(0, "tests", "lag")
    actions = torch.randn(400, 1, generator=rng, dtype=torch.float64)
    moves = torch.cat([torch.zeros(2, 1).double(), actions[:-2]])
    states = torch.cat([torch.zeros(1, 1).double(), moves.cumsum(dim=0)[:-1]])
    found = response_of(Episodes(actions=actions, states=states, lengths=torch.tensor([200, 200])))
    assert (found.lag, found.clear) == (2, True)
    assert found.at(2) > 0.99
    assert abs(found.at(0)) < 0.1


def test_policies_of_other_rates_and_late_eyes():
    """A policy that answers with what it sees, seeing the step number."""
    echo = PlainPolicy(lambda seen: seen[:, :1], batched=True)

    def answers(policy):
        policy.reset(0)
        return [float(policy.act(Observation(state=torch.full((1, 1), float(t))), torch.zeros(1, 1))) for t in range(6)]

    assert answers(LateObservation(echo, 2)) == [0, 0, 0, 1, 2, 3]
    assert answers(LatePhase(echo, 3)) == [0, 0, 0, 3, 3, 3]
    counted = []
    assert answers(EarlyPhase(PlainPolicy(lambda seen: counted.append(1) or seen[:, :1], batched=True), 4))[-1] == 5
    assert len(counted) == 24


def test_the_order_of_causes():
    """Confirmed causes first, those that explain more before others; what a test refutes comes last."""

    def cause(check, answer, explains=0.0):
        values = {"explains": explains} if answer == "yes" else {}
        confirmed = Confirmation(answer=answer, values=values)
        return Cause(check=check, severity="warning", what=check, confirmed=confirmed)

    given = [cause("stuck", "yes"), cause("rates", "no"), cause("training", "yes", 0.9), cause("idle", "open")]
    given += [cause("lag", "yes", 0.2), cause("offset", "yes", 0.8)]
    found = ranked(given)
    assert [item.check for item in found] == ["offset", "lag", "idle", "training", "stuck", "rates"]
    assert [item.severity for item in found] == ["error", "warning", "warning", "error", "warning", "warning"]


def test_causes_are_on_the_page_and_in_the_result(shown, tmp_path):
    off = replace(shown, actions=shown.actions + 3.0)
    write_diagnosis(tmp_path, examined(fit_clone(off), Cart(), off))
    stored = json.loads((tmp_path / "result.json").read_text())["causes"]
    assert set(stored[0]) == {"check", "severity", "what", "effect", "remedy", "values", "confirmed"}
    assert stored[0]["check"] == "offset"
    assert stored[0]["confirmed"]["answer"] == "yes"
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert page.index("Causes") < page.index("Verdict")
    assert stored[0]["remedy"] in page
