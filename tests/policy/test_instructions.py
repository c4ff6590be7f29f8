"""Policies that follow instructions: from demonstrations with tasks to a closed loop, files, and what is refused."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

import holdfast as hf
from holdfast.errors import DataError, ExportError, InterfaceError, RecipeError, RunError, ShapeError
from holdfast.export import export_policy
from holdfast.learn import (
    check_variants,
    fit,
    language_of,
    planner_of,
    prepare,
    text_features,
    train_to_end,
    with_instructions,
)
from holdfast.policy import Policy
from holdfast.serve.planning import Job, Session, plan_all
from holdfast.serve.requests import request_of
from holdfast.serve.served import Served

GOALS = {"go east": (1.0, 0.0), "go north": (0.0, 1.0), "go west": (-1.0, 0.0)}
STEP = 0.2


def demonstrations(count=18, steps=20, seed=0):
    """A point that moves to a goal, which only the instruction tells."""
    rng = torch.Generator().manual_seed(seed)
    tasks = [list(GOALS)[index % len(GOALS)] for index in range(count)]
    states, actions = list[torch.Tensor](), list[torch.Tensor]()
    for task in tasks:
        x, flown, chosen = torch.randn(2, generator=rng, dtype=torch.float64) * 0.3, [], []
        for _ in range(steps):
            u = torch.tensor(GOALS[task], dtype=torch.float64) - x
            flown.append(x)
            chosen.append(u)
            x = x + STEP * u
        states.append(torch.stack(flown))
        actions.append(torch.stack(chosen))
    return replace(hf.episodes_from_arrays(states, actions, dt=0.1), tasks=tuple(tasks))


class Points(gymnasium.Env):
    """The point as a Gymnasium environment, whose observations carry no instruction."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)

    def reset(self, *, seed=None, options=None):
        self.x = np.zeros(2)
        return self.x, {}

    def step(self, action):
        self.x = self.x + STEP * action
        return self.x, 0.0, False, False, {}


def recipe_of(episodes, language, *, steps=600):
    recipe = hf.default_recipe(episodes, language=language)
    execution = replace(recipe.policy.execution, n_action_steps=4, sigma_deploy=0.0)
    model = replace(recipe.policy.model, network=hf.nn.FilmMlp(widths=(64, 64), embedding=16))
    model = replace(model, sampler=replace(model.sampler, steps=5, eta=0.0))
    policy = replace(recipe.policy, horizon=8, model=model, execution=execution)
    training = replace(recipe.training, steps=steps, batch_size=64, learning_rate=2e-3, warmup_steps=50, ema_decay=0.99)
    return replace(recipe, policy=policy, training=replace(training, sigma_train=0.0, precision="float32"))


@pytest.fixture(scope="module")
def trained():
    episodes = demonstrations()
    recipe = recipe_of(episodes, language_of(episodes))
    data = prepare(recipe, episodes)
    return recipe, data, planner_of(recipe, data, train_to_end(recipe, data))


def flown(policy, tasks, steps=25):
    """Where a batch of points ends that starts at the origin, one instruction each."""
    policy.reset(0)
    x = torch.zeros(len(tasks), 2, dtype=torch.float64)
    for _ in range(steps):
        x = x + STEP * policy.select_action({"observation.state": x, "task": list(tasks)})
    return x


def test_each_episode_goes_where_its_own_instruction_says(trained):
    tasks = list(GOALS)
    ends = flown(Policy(trained[2]), tasks)
    for end, task in zip(ends, tasks, strict=True):
        assert (end - torch.tensor(GOALS[task], dtype=torch.float64)).norm() < 0.3, (task, end)


def test_an_instruction_for_all_following_observations(trained):
    policy = Policy(trained[2])
    state = torch.zeros(2, dtype=torch.float64)
    with pytest.raises(InterfaceError, match=r"was given none. Give one: .*'go east', 'go north', 'go west'"):
        policy.select_action({"observation.state": state})
    policy.instruct("go north")
    policy.reset(0)
    usual = policy.select_action(state)
    policy.reset(0)
    assert torch.equal(usual, policy.select_action({"observation.state": state, "prompt": "go north"}))
    policy.reset(0)
    assert not torch.equal(usual, policy.select_action({"observation.state": state, "task": "go west"}))
    chunk = policy.predict_action_chunk({"observation.state": state, "task": "go east"})
    assert chunk[0, 0] > 0.5


def test_without_its_instruction_guidance_by_0_mixes_all_ways_and_above_1_exceeds_the_conditional(trained):
    policy = Policy(trained[2])
    state = torch.zeros(200, 2, dtype=torch.float64)
    first = {}
    for weight in (0.0, 1.0, 2.0):
        guided = policy.guided(weight)
        guided.reset(0)
        first[weight] = guided.select_action({"observation.state": state, "task": "go north"})
    assert first[0.0][:, 1].std() > 3 * first[1.0][:, 1].std()
    assert first[2.0][:, 1].mean() >= first[1.0][:, 1].mean() - 0.05
    assert policy.spec.language.guidance == 1.0
    # without its instruction it needs none
    assert policy.guided(0.0).select_action({"observation.state": state}).shape == (200, 2)


def test_a_run_keeps_its_instructions(trained, tmp_path):
    policy = Policy(trained[2])
    policy.save_pretrained(tmp_path / "run")
    again = hf.load(tmp_path / "run")
    assert again.spec.language == trained[0].policy.language
    assert torch.equal(flown(again, ["go west"]), flown(policy, ["go west"]))


def test_training_resumes_bit_for_bit(trained, tmp_path):
    recipe, data, _ = trained
    short = replace(recipe, training=replace(recipe.training, steps=6, save_every=2))

    def stop(state):
        if state.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(short, data, tmp_path / "run", on_step=stop)
    resumed = fit(short, data, tmp_path / "run", resume=True)
    for name, value in train_to_end(short, data).average.items():
        assert torch.equal(resumed.average[name], value), name
    # other instructions are other data
    others = replace(data, tasks=tuple(reversed(data.tasks)))
    with pytest.raises(RunError, match="demonstrations"):
        fit(short, others, tmp_path / "run", resume=True)


def test_what_does_not_fit_is_refused(trained):
    recipe, data, planner = trained
    policy, state = Policy(planner), torch.zeros(2, 2, dtype=torch.float64)
    with pytest.raises(InterfaceError, match=r"'go nort'.*Did you mean go north"):
        policy.instruct("go nort")
    with pytest.raises(ShapeError, match="one for each of 2 episodes, got 3"):
        policy.select_action({"observation.state": state, "task": ["go east"] * 3})
    with pytest.raises(DataError, match="expected the instruction as text, got int"):
        policy.select_action({"observation.state": state, "task": 3})
    with pytest.raises(DataError, match="expected the instruction as text, got int"):
        policy.select_action({"observation.state": state, "task": ["go east", 3]})
    with pytest.raises(RecipeError, match="one seed at a time"):
        check_variants([recipe, recipe], [data, data])
    without = demonstrations()
    with pytest.raises(ShapeError, match="expected tasks as texts"):
        replace(demonstrations(), tasks=("go east",) * 17 + (None,))
    with pytest.raises(DataError, match="no instructions that a policy could follow"):
        language_of(replace(without, tasks=None))
    others = replace(without, tasks=("go south",) * 18)
    with pytest.raises(DataError, match="does not name the instruction 'go south'"):
        prepare(recipe, others)
    with pytest.raises(ExportError, match="follows instructions, which are texts"):
        export_policy(policy, "never")
    plain = Policy(planner_of(*_plain()))
    with pytest.raises(RecipeError, match="trained without instructions"):
        plain.instruct("go east")
    with pytest.raises(RecipeError, match="trained without instructions"):
        plain.guided(2.0)
    with pytest.raises(RecipeError, match="only a policy with a text encoder"):
        with_instructions(policy, ["go south"], "nowhere")


def _plain():
    episodes = demonstrations()
    recipe = recipe_of(episodes, None, steps=1)
    data = prepare(recipe, episodes)
    return recipe, data, train_to_end(recipe, data)


def test_a_server_reads_the_prompt_of_each_session(trained):
    policy = Policy(trained[2])
    served = Served.of(policy)
    sessions = [Session(served, seed) for seed in range(3)]
    rows = [{"observation.state": [0.0, 0.0], "prompt": task} for task in GOALS]
    jobs = [Job(session, request_of(row, served)) for session, row in zip(sessions, rows, strict=True)]
    for reply, task in zip(plan_all(jobs), GOALS, strict=True):
        direction = torch.tensor(GOALS[task], dtype=reply.actions.dtype)
        assert float(reply.actions[0] @ direction) > 0.5
    with pytest.raises(InterfaceError, match="policy follows instructions, but was given none"):
        request_of({"observation.state": [0.0, 0.0]}, served)
    with pytest.raises(DataError, match="prompt and task differ: 'go east' and 'go west'"):
        request_of({"observation.state": [0.0, 0.0], "prompt": "go east", "task": "go west"}, served)
    assert served.metadata(0)["instructions"] == list(GOALS)


@pytest.fixture(scope="module")
def text_encoder(tmp_path_factory):
    """A tiny BERT with random weights, in Hugging Face's layout."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("encoder") / "tiny-bert"
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "go", "east", "north", "west", "south", "please"]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.BertModel(transformers.BertConfig(vocab_size=len(words), **sizes)).save_pretrained(folder)
    return folder


def test_features_are_means_over_tokens_without_padding(text_encoder):
    """Padding to the longest text must not change a shorter one."""
    alone = text_features(text_encoder, ["go east"])
    beside = text_features(text_encoder, ["go east", "please go east please please"])
    torch.testing.assert_close(alone[0], beside[0], atol=1e-5, rtol=1e-4)


def test_texts_that_the_encoder_cannot_read_or_tell_apart_are_refused(text_encoder):
    with pytest.raises(RecipeError, match=r"'go go .* has 1002 tokens, but the text encoder reads at most 512"):
        text_features(text_encoder, ["go " * 1000])
    episodes = replace(demonstrations(), tasks=("left",) * 9 + ("right",) * 9)
    language = language_of(episodes, text_encoder="tiny-bert", n_text_features=16)
    # both words are unknown to its tokenizer
    features = text_features(text_encoder, language.instructions)
    with pytest.raises(RecipeError, match="gives some of the instructions equal features"):
        prepare(recipe_of(episodes, language), episodes, text_features=features)


def test_an_instruction_that_was_not_trained_on(text_encoder, tmp_path):
    """A longer text with the same words has similar features, so that the policy understands it."""
    episodes = demonstrations()
    language = language_of(episodes, text_encoder="tiny-bert", n_text_features=16)
    recipe = recipe_of(episodes, language)
    with pytest.raises(RecipeError, match="names the text encoder tiny-bert, but the training set has no features"):
        train_to_end(recipe, prepare(recipe, episodes))
    data = prepare(recipe, episodes, text_features=text_features(text_encoder, language.instructions))
    policy = Policy(planner_of(recipe, data, train_to_end(recipe, data)))
    further = with_instructions(policy, ["please go north"], text_encoder)
    assert further.spec.language.instructions == (*GOALS, "please go north")
    assert torch.equal(flown(policy, ["go east"]), flown(further, ["go east"]))
    further.save_pretrained(tmp_path / "run")
    assert torch.equal(flown(hf.load(tmp_path / "run"), ["please go north"]), flown(further, ["please go north"]))
    with pytest.raises(RecipeError, match="expected a folder with a text encoder"):
        with_instructions(policy, ["go home"], tmp_path)


def test_the_policy_gives_the_instruction_where_the_environment_has_none(trained):
    policy = Policy(trained[2])
    policy.instruct("go west")
    found = hf.rollout(policy, lambda: gymnasium.wrappers.TimeLimit(Points(), 25), starts=range(2))
    assert (found.trajectory.states[:, -1] - torch.tensor([-1.0, 0.0])).norm(dim=-1).max() < 0.4
    again = Policy(policy.planner, execution=policy.spec.execution)
    assert again.instruction == "go west"
