"""Skills: termination conditions, libraries, who decides, and hand-overs."""

import json
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

import holdfast as hf
from holdfast.data import Actions, MinMax
from holdfast.errors import InterfaceError, OutputError, RecipeError, RunError, ShapeError, UnknownNameError
from holdfast.models import Flow, Regression
from holdfast.nn import FilmMlp, Transformer
from holdfast.policy import Coordinates, Execution, Policy, PolicyInterface, PolicySpec, SafetyFilter, build_model
from holdfast.policy.overlap import Ensemble
from holdfast.policy.planner import Planner
from holdfast.policy.skills import (
    Handover,
    LearnedEnd,
    Moment,
    Reached,
    ScriptedSkill,
    Selector,
    SelectorNet,
    SelectorSizes,
    Skill,
    SkillLibrary,
    SkillPolicy,
    StepLimit,
    load_library,
    load_skills,
    save_library,
)
from holdfast.sealed import sealed
from holdfast.types import Observation

NAMES = ("x", "y")


def coordinates(count, names=None):
    return Coordinates(low=(-1.0,) * count, high=(1.0,) * count, names=names)


def trained(seed=0, *, names=NAMES, actions=("u",), model=None, horizon=4, learned=(), **execution):
    """A policy of random weights of two observed coordinates."""
    spec = PolicySpec(
        n_states=2,
        n_actions=len(actions),
        n_observed=2,
        codec=Actions(),
        model=model or Regression(network=FilmMlp(widths=(8,))),
        n_obs_steps=1,
        horizon=horizon,
        execution=Execution(**{"n_action_steps": 2, **execution}),
    )
    interface = PolicyInterface(
        observation=coordinates(2, names),
        state=coordinates(2, NAMES),
        action=coordinates(len(actions), actions),
        n_robot=2,
        prefix_delays=learned,
    )
    unit = MinMax(low=-torch.ones(2, dtype=torch.float64), high=torch.ones(2, dtype=torch.float64))
    size = len(actions)
    code = MinMax(low=-torch.ones(size, dtype=torch.float64), high=torch.ones(size, dtype=torch.float64))
    planner = Planner(spec, build_model(spec, seed=seed).eval(), unit, code, interface)
    return Policy(planner)


def constant(value):
    """A skill that always does the same."""
    return ScriptedSkill(lambda observation, state: torch.full((len(state), 1), float(value), dtype=torch.float64))


def seen(*rows):
    values = torch.tensor(rows, dtype=torch.float64)
    return Observation(state=values), values


def moment(rows, *, steps=1, ending=None):
    values = torch.tensor(rows, dtype=torch.float64)
    return Moment(values, NAMES, torch.full((len(values),), steps), ending)


class TestConditions:
    def test_a_distance_to_numbers_or_to_coordinates(self):
        rows = [[0.3, 0.4], [0.3, 0.41], [1.0, 1.0]]
        assert Reached(coordinates=NAMES, within=0.5).holds(moment(rows)).tolist() == [True, False, False]
        near_one = Reached(coordinates=("y",), within=0.1, target=(1.0,))
        assert near_one.holds(moment(rows)).tolist() == [False, False, True]
        equal = Reached(coordinates=("x",), within=0.105, target_coordinates=("y",))
        assert equal.holds(moment(rows)).tolist() == [True, False, True]

    def test_steps_and_probabilities(self):
        assert [bool(StepLimit(3).holds(moment([[0.0, 0.0]], steps=n))) for n in (2, 3, 4)] == [False, True, True]
        found = LearnedEnd(0.6).holds(moment([[0.0, 0.0]] * 2, ending=torch.tensor([0.59, 0.6], dtype=torch.float64)))
        assert found.tolist() == [False, True]

    def test_what_means_nothing_is_refused(self):
        with pytest.raises(InterfaceError, match=r"the coordinate 'z', which the skills do not observe. Known: x, y"):
            Reached(coordinates=("z",), within=1.0).holds(moment([[0.0, 0.0]]))
        with pytest.raises(RecipeError, match="a distance of 2 coordinates to a target of 1 numbers"):
            Reached(coordinates=NAMES, within=1.0, target=(0.0,))
        with pytest.raises(RecipeError, match="both"):
            Reached(coordinates=("x",), within=1.0, target=(0.0,), target_coordinates=("y",))
        with pytest.raises(RecipeError, match="a distance above 0"):
            Reached(coordinates=("x",), within=0.0)
        with pytest.raises(RecipeError, match="no selector that learned it"):
            LearnedEnd().holds(moment([[0.0, 0.0]]))


class TestLibraries:
    def test_other_actions_name_both_skills(self):
        one = Skill("reach", trained())
        with pytest.raises(InterfaceError, match=r"the skills reach and press have other actions: 1 and 2 numbers"):
            SkillLibrary((one, Skill("press", trained(actions=("u", "v")))))
        with pytest.raises(InterfaceError, match=r"reach and press have other actions: u and force"):
            SkillLibrary((one, Skill("press", trained(actions=("force",)))))

    def test_other_observations_name_both_skills(self):
        with pytest.raises(InterfaceError, match=r"reach and press have other observations: x, y and x, z"):
            SkillLibrary((Skill("reach", trained()), Skill("press", trained(names=("x", "z")))))

    def test_a_condition_of_unknown_coordinates_is_refused_at_once(self):
        with pytest.raises(InterfaceError, match="'angle'"):
            SkillLibrary((Skill("reach", trained(), (Reached(coordinates=("angle",), within=1.0),)),))

    def test_names_and_policies_that_cannot_be_used(self):
        with pytest.raises(RecipeError, match="different names, got a, a"):
            SkillLibrary((Skill("a", constant(0)), Skill("a", constant(1))))
        with pytest.raises(RecipeError, match="at least one skill"):
            SkillLibrary(())
        with pytest.raises(RecipeError, match=r"the skill act keeps plans between calls \(ensemble\)"):
            Skill("act", trained(ensemble=Ensemble(), n_action_steps=1))
        limits = SafetyFilter(action_low=(-1.0,), action_high=(1.0,))
        with pytest.raises(InterfaceError, match="other safety filters"):
            SkillLibrary((Skill("a", trained(filter=limits)), Skill("b", trained())))

    def test_observations_in_another_order_are_put_in_order(self):
        """Both skills are one policy, the second with its inputs exchanged: its actions are those of the first."""
        one = trained()
        scale = MinMax(low=torch.tensor([-1.0, -3.0]).double(), high=torch.tensor([1.0, 3.0]).double())
        one = Policy(replace(one.planner, observation_scale=scale))
        swapped = trained(names=("y", "x"))
        back = MinMax(low=scale.low.flip(0), high=scale.high.flip(0))
        swapped = Policy(replace(swapped.planner, observation_scale=back))
        library = SkillLibrary((Skill("one", one), Skill("swapped", swapped)))
        observation, state = seen([0.5, -2.0])
        plans = [SkillPolicy(library, lambda o, h, name=name: name) for name in library.names]
        first, second = (plan.act(observation, state) for plan in plans)
        flipped = swapped.act(Observation(state=state.flip(1)), state)
        assert_close(second, flipped)
        assert not torch.allclose(first, second)


class TestDecisions:
    library = SkillLibrary((Skill("left", constant(-1), (StepLimit(2),)), Skill("right", constant(1), (StepLimit(3),))))

    def test_a_skill_runs_until_it_ends_and_the_planner_is_told_what_ran(self):
        told = []

        def planner(observation, history):
            told.append((dict(observation), [(stint.skill, stint.steps, stint.ended) for stint in history]))
            return "left" if len(history) % 2 == 0 else "right"

        policy = SkillPolicy(self.library, planner, handover=Handover("naive"))
        actions = [float(policy.act(*seen([float(step), 0.0]))) for step in range(7)]
        assert actions == [-1, -1, 1, 1, 1, -1, -1]
        assert [history for _, history in told] == [
            [],
            [("left", 2, None)],
            [("left", 2, "condition"), ("right", 3, None)],
        ]
        assert [observation["0"] for observation, _ in told] == [0.0, 2.0, 5.0]
        assert policy.chosen.tolist() == [[0, 0, 1, 1, 1, 0, 0]]
        assert [(stint.skill, stint.first) for stint in policy.history()] == [("left", 0), ("right", 2), ("left", 5)]

    def test_decisions_at_a_rate(self):
        library = SkillLibrary((Skill("left", constant(-1)), Skill("right", constant(1))))
        asked = []

        def planner(observation, history):
            asked.append(observation["0"])
            return "right" if observation["0"] >= 3 else "left"

        policy = SkillPolicy(library, planner, every=2, handover=Handover("naive"))
        actions = [float(policy.act(*seen([float(step), 0.0]))) for step in range(6)]
        assert asked == [0.0, 2.0, 4.0]
        assert actions == [-1, -1, -1, -1, 1, 1]
        assert policy.history()[0].ended == "decision"

    def test_each_episode_of_a_batch_runs_its_own_skill(self):
        library = SkillLibrary((Skill("left", constant(-1)), Skill("right", constant(1))))
        policy = SkillPolicy(library, lambda o, h: "right" if o["0"] > 0 else "left", every=1)
        assert policy.act(*seen([1.0, 0.0], [-1.0, 0.0], [2.0, 0.0])).flatten().tolist() == [1, -1, 1]
        with pytest.raises(ShapeError, match="Call reset"):
            policy.act(*seen([1.0, 0.0]))

    def test_skills_alone_act_as_their_policies_do(self):
        """Without a switch, a trained skill plans, executes and limits as its policy."""
        policy = trained(n_action_steps=3, action_low=(-0.05,), action_high=(0.05,))
        alone = SkillPolicy(SkillLibrary((Skill("only", policy),)), lambda o, h: "only", every=2)
        policy.reset(3)
        alone.reset(3)
        rng = torch.Generator().manual_seed(0)
        for _ in range(7):
            observation = torch.randn(4, 2, generator=rng, dtype=torch.float64)
            expected = policy.act(Observation(state=observation), observation)
            assert torch.equal(alone.act(Observation(state=observation), observation), expected)
        assert float(expected.abs().max()) <= 0.05

    def test_unknown_answers_and_selectors_of_other_skills(self):
        with pytest.raises(UnknownNameError, match=r"unknown skill .* 'up'. Known: left, right"):
            SkillPolicy(self.library, lambda o, h: "up").act(*seen([0.0, 0.0]))
        other = Selector(SelectorNet(SelectorSizes(n_skills=2, n_observed=2)), ("left", "up"))
        with pytest.raises(RecipeError, match="trained to choose left, up, but the library has no skill up"):
            SkillPolicy(self.library, other)
        with pytest.raises(RecipeError, match="no selector was given that learned it"):
            SkillPolicy(SkillLibrary((Skill("left", constant(0), (LearnedEnd(),)),)), lambda o, h: "left")

    def test_a_selector_in_the_library_s_order(self):
        network = SelectorNet(SelectorSizes(n_skills=2, n_observed=2, widths=(4,)))
        torch.nn.init.zeros_(network.out.weight)
        # always the first of its outputs, and no end
        network.out.bias.data = torch.tensor([1.0, 0.0, -9.0, -9.0])
        policy = SkillPolicy(self.library, Selector(network, ("right", "left")))
        assert float(policy.act(*seen([0.0, 0.0]))) == 1.0

    def test_a_selector_s_own_order_of_observations(self):
        """It chooses by its first input, which is the library's second."""
        network = SelectorNet(SelectorSizes(n_skills=2, n_observed=2, widths=(1,)))
        with torch.no_grad():
            network.hidden[0].weight[:] = torch.tensor([[1.0, 0.0]])
            network.hidden[0].bias[:] = 0
            network.out.weight[:] = torch.tensor([[9.0], [0.0], [0.0], [0.0]])
            network.out.bias[:] = torch.tensor([-9.0, 0.0, -9.0, -9.0])
        library = SkillLibrary((Skill("a", trained(1)), Skill("b", trained(2))))
        for observed, chosen in (((), [0, 1]), (("x", "y"), [0, 1]), (("y", "x"), [1, 0])):
            policy = SkillPolicy(library, Selector(network, ("a", "b"), observed))
            policy.act(*seen([3.0, -3.0], [-3.0, 3.0]))
            assert policy.chosen.flatten().tolist() == chosen
        with pytest.raises(InterfaceError, match="the selector observes x, z, but the skills observe x, y"):
            SkillPolicy(library, Selector(network, ("a", "b"), ("x", "z")))


class TestPlanners:
    """Functions that fail or answer what is no skill."""

    def policy(self, planner):
        library = SkillLibrary((Skill("a", constant(1), (StepLimit(2),)), Skill("b", constant(2))))
        return SkillPolicy(library, planner)

    def test_a_failure_names_planner_step_and_what_it_was_given(self):
        def choose(observation, history):
            return "a" if not history else {}["gripper"]

        policy = self.policy(choose)
        for _ in range(2):
            policy.act(*seen([0.0, 0.0], [1.0, 1.0]))
        with pytest.raises(
            RecipeError,
            match=r"planner choose failed at step 2 of episode 0 with KeyError: 'gripper'\. It was given an "
            r"observation with 0, 1 and a history of 1 skills, and is to return one of a, b\.",
        ) as caught:
            policy.act(*seen([0.0, 0.0], [1.0, 1.0]))
        assert isinstance(caught.value.__cause__, KeyError)

    @pytest.mark.parametrize(("answer", "told"), [(0, r"0 \(int\)"), (None, "NoneType"), (["a"], r"\['a'\] \(list\)")])
    def test_other_types(self, answer, told):
        with pytest.raises(RecipeError, match=rf"<lambda> returned .*{told}.* at step 0 of episode 0.* as text: a, b"):
            self.policy(lambda observation, history: answer).act(*seen([0.0, 0.0]))

    def test_unknown_names_tell_planner_and_episode(self):
        def choose(observation, history):
            return "bb" if observation["0"] > 0 else "a"

        with pytest.raises(
            UnknownNameError, match=r"planner choose at step 0 of episode 1: 'bb'\. Known: a, b\. Did you mean b"
        ):
            self.policy(choose).act(*seen([0.0, 0.0], [1.0, 0.0]))

    @pytest.mark.parametrize("episode", [2, 99, -1])
    def test_the_history_of_an_episode_that_there_is_not(self, episode):
        policy = self.policy(lambda observation, history: "a")
        assert policy.history(0) == []
        policy.act(*seen([0.0, 0.0], [1.0, 1.0]))
        assert [stint.skill for stint in policy.history(1)] == ["a"]
        with pytest.raises(ShapeError, match=rf"from 0 to 1, got {episode}\..* in 1 control steps"):
            policy.history(episode)


class TestHandovers:
    @pytest.mark.parametrize(
        ("way", "expected"), [("naive", [-1, 2, 2, 2, 2]), ("blend", [-1, 0, 1, 2, 2]), ("prefix", [-1, 0, 1, 2, 2])]
    )
    def test_blends_by_hand(self, way, expected):
        """From −1 to 2 with two steps between: thirds."""
        library = SkillLibrary((Skill("low", constant(-1), (StepLimit(1),)), Skill("high", constant(2))))
        policy = SkillPolicy(library, lambda o, h: "high" if h else "low", handover=Handover(way, overlap=2))
        assert [round(float(policy.act(*seen([0.0, 0.0]))), 6) for _ in range(5)] == expected

    def test_a_clean_prefix_is_given_and_executed(self, monkeypatch):
        """The first steps after a switch are those of the old chunk, and the new plan is told them."""
        model = Flow(network=Transformer(width=16, layers=1, heads=2), clean_prefix=True)
        first, second = (trained(seed, model=model, horizon=8, learned=(0, 2)) for seed in (1, 2))
        library = SkillLibrary((Skill("a", first, (StepLimit(2),)), Skill("b", second)))
        assert Handover(overlap=1).held(*library.skills, left=6) == 2, "only 0 and 2 steps were learned"
        assert Handover("blend").held(*library.skills, left=6) == 0
        told = []
        plan = type(second.executor.plans).plan

        def spied(plans, window, *, rng, prefix=None):
            if plans is second.executor.plans:
                told.append(prefix)
            return plan(plans, window, rng=rng, prefix=prefix)

        monkeypatch.setattr(type(second.executor.plans), "plan", spied)
        policy = SkillPolicy(library, lambda o, h: "b" if h else "a", handover=Handover(overlap=2))
        policy.reset(5)
        chunk = None
        actions = []
        for _ in range(4):
            actions.append(policy.act(*seen([0.1, 0.2], [0.3, -0.4])))
            chunk = chunk or policy.executor.running.chunk
        torch.testing.assert_close(torch.stack(actions, 1), chunk.actions[:, :4], rtol=0, atol=1e-6)
        assert told[0].weights.tolist() == [[1, 1, 0, 0, 0, 0, 0, 0]] * 2
        torch.testing.assert_close(told[0].chunk[:, :2].double(), chunk.actions[:, 2:4].double(), rtol=0, atol=1e-6)

    def test_episodes_switch_independently(self):
        library = SkillLibrary((Skill("low", constant(-1)), Skill("high", constant(2))))
        policy = SkillPolicy(library, lambda o, h: "high" if o["0"] > 0 else "low", every=1, handover=Handover("blend"))
        policy.act(*seen([-1.0, 0.0], [1.0, 0.0]))
        found = [policy.act(*seen([1.0, 0.0], [1.0, 0.0])).flatten().tolist() for _ in range(3)]
        assert_close(torch.tensor(found), torch.tensor([[0.0, 2.0], [1.0, 2.0], [2.0, 2.0]]))

    def test_a_negative_overlap_is_refused(self):
        with pytest.raises(RecipeError, match="overlap of 0 steps or more"):
            Handover(overlap=-1)


class TestStored:
    @pytest.fixture
    def runs(self, tmp_path):
        for seed, name in enumerate(("reach", "press")):
            trained(seed).save_pretrained(tmp_path / "runs" / name)
        return {name: tmp_path / "runs" / name for name in ("reach", "press")}

    @pytest.fixture
    def selector(self):
        network = SelectorNet(SelectorSizes(n_skills=2, n_observed=2, widths=(4,)))
        # "reach" where x is negative
        with torch.no_grad():
            network.hidden[0].weight[:] = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
            network.hidden[0].bias[:] = 0
            network.out.weight[:] = torch.tensor([[0.0, 1.0, 0, 0], [1.0, 0.0, 0, 0], [0.0] * 4, [0.0] * 4])
            network.out.bias[:] = 0
        return Selector(network, ("reach", "press"))

    def test_a_library_is_moved_with_its_runs(self, runs, selector, tmp_path):
        ends = {"reach": (Reached(coordinates=("x",), within=0.1), StepLimit(5)), "press": (LearnedEnd(0.7),)}
        made = save_library(tmp_path / "library", runs, selector=selector, ends=ends, every=3, overlap=1)
        stored = json.loads((tmp_path / "library" / "skills.json").read_text())
        assert [skill["run"] for skill in stored["skills"]] == ["../runs/reach", "../runs/press"]
        (tmp_path / "moved").mkdir()
        for name in ("library", "runs"):
            (tmp_path / name).rename(tmp_path / "moved" / name)
        again = load_skills(tmp_path / "moved" / "library")
        assert [skill.ends for skill in again.library.skills] == list(ends.values())
        assert (again.executor.every, again.executor.handover.overlap) == (3, 1)
        rows = torch.randn(50, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        for policy in (made, again):
            policy.reset(4)
        for _ in range(4):
            both = [policy.act(Observation(state=rows), rows) for policy in (made, again)]
            assert torch.equal(*both)
        assert torch.equal(again.chosen, (rows[:, :1] > 0).long().expand(-1, 4))
        assert hf.load_skills is load_skills

    def test_a_library_without_a_selector_takes_a_planner(self, runs, tmp_path):
        library = save_library(tmp_path / "library", runs, every=2)
        assert isinstance(library, SkillLibrary)
        assert load_library(tmp_path / "library" / "skills.json").names == ("reach", "press")
        with pytest.raises(RunError, match=r"has no selector \(selector.safetensors is missing\)"):
            load_skills(tmp_path / "library")
        policy = load_skills(tmp_path / "library", lambda o, h: "press" if o["x"] > 0 else "reach")
        alone = hf.load(runs["press"])
        assert torch.equal(policy.select_action([0.5, 0.1]), alone.select_action([0.5, 0.1]))
        with pytest.raises(OutputError, match="holds a skill library"):
            save_library(tmp_path / "library", runs)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda stored: stored | {"version": 2}, "is of version 2"),
            (lambda stored: stored | {"skills": []}, "lists no skills"),
            (lambda stored: {k: v for k, v in stored.items() if k != "version"}, 'gives no version. Add "version": 1'),
            (lambda stored: stored | {"every": 0}, "is not valid: expected every of at least 1, got 0"),
            (lambda stored: stored | {"skills": stored["skills"][:1] * 2}, "several skills have the name 'reach'"),
            (
                lambda stored: stored | {"skills": [*stored["skills"], {"name": "lift", "run": ""}]},
                r"skill 2 \('lift'\) has an empty name or run folder",
            ),
            (
                lambda stored: stored | {"skills": [*stored["skills"], {"name": "lift"}]},
                r"skill 2 \('lift'\): .*lacks the field run\. Correct it there",
            ),
            (
                lambda stored: (
                    stored | {"skills": [{"name": "a", "run": "r", "ends": [{"kind": "StepLimit", "steps": 0}]}]}
                ),
                r"skill 0 \('a'\): expected steps of at least 1, got 0\. Correct",
            ),
            (lambda stored: stored | {"every": "often"}, r"is not valid: every: expected int, got 'often'"),
            (lambda stored: stored | {"colour": 1}, "no field colour"),
            (lambda stored: stored | {"skills": [{"name": "a", "run": "/runs/reach"}]}, "is the absolute path"),
            (lambda stored: stored | {"skills": [{"name": "a", "run": "../none"}]}, r"does not exist.*the skill 'a'"),
            (
                lambda stored: stored | {"skills": [{"name": "a", "run": "r", "ends": [{"kind": "Never"}]}]},
                "unknown .*'Never'. Known: LearnedEnd, Reached, StepLimit",
            ),
        ],
    )
    def test_files_that_are_no_library(self, runs, selector, tmp_path, change, message):
        save_library(tmp_path / "library", runs, selector=selector)
        file = tmp_path / "library" / "skills.json"
        file.write_text(json.dumps(change(json.loads(file.read_text()))))
        with pytest.raises(RunError, match=message):
            load_skills(tmp_path / "library")

    def test_the_file_is_judged_before_the_selector_is_missed(self, runs, tmp_path):
        save_library(tmp_path / "library", runs)
        file = tmp_path / "library" / "skills.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"every": -1}))
        with pytest.raises(RunError, match="expected every of at least 1, got -1"):
            load_skills(tmp_path / "library")

    def test_a_changed_selector_is_noticed(self, runs, selector, tmp_path):
        save_library(tmp_path / "library", runs, selector=selector)
        file = tmp_path / "library" / "selector.safetensors"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        with pytest.raises(RunError, match=r"selector\.safetensors is damaged"):
            load_skills(tmp_path / "library")
        with pytest.raises(RunError, match="is no skill library"):
            load_skills(tmp_path)

    @pytest.mark.parametrize(
        ("about", "message"),
        [
            ({"sizes": {"n_skills": 2, "n_observed": 2, "widths": [10**6] * 3}}, "not those of a selector of these"),
            ({"sizes": {"n_skills": 2, "n_observed": 0}}, "n_observed of at least 1"),
            ({"skills": ["reach", "reach"]}, "each skill a name of its own"),
            ({"skills": None}, "each skill a name of its own"),
        ],
    )
    def test_sizes_that_a_file_declares_are_not_believed(self, runs, selector, tmp_path, about, message):
        save_library(tmp_path / "library", runs, selector=selector)
        file = tmp_path / "library" / "selector.safetensors"
        told = {"skills": ["reach", "press"], "sizes": {"n_skills": 2, "n_observed": 2, "widths": [4]}} | about
        file.write_bytes(sealed(selector.network.state_dict(), told))
        with pytest.raises(RunError, match=message):
            load_skills(tmp_path / "library")
