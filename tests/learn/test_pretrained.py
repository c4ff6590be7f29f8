"""Policies that see pictures through the weights of a file: frozen with features computed once, or fine-tuned."""

import warnings
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

import holdfast as hf
from holdfast.cli import main
from holdfast.data import Frames
from holdfast.errors import CacheWarning, RecipeError
from holdfast.learn import features as kept
from holdfast.learn import fit, initial_state, prepare, prepare_held_out, stored_encoders, vision_of
from holdfast.learn.optimise import train_step, zero_moments
from holdfast.models import Diffusion, Sampler
from holdfast.nn import Dinov2, FilmMlp, ResNet18Bn, encoders_with, read_encoder
from holdfast.policy import Policy
from holdfast.recipe import Training
from holdfast.seeding import stream
from holdfast.types import Batch, Episodes, Observation

SIZE = 48
EXACT = ["model.safetensors", "scale.json", "recipe.json", "train_state/state.safetensors"]


@pytest.fixture(scope="module")
def shown():
    rng = stream(0, "tests", "pretrained")
    states = torch.rand(40, 2, generator=rng)
    pictures = torch.randint(256, (40, SIZE, SIZE, 3), generator=rng, dtype=torch.uint8)
    return Episodes(
        actions=states.flip(0),
        states=states,
        lengths=torch.full((4,), 10),
        observations=Observation(state=states),
        cameras={"top": Frames(pictures)},
        dt=0.1,
    )


SMALL = {
    "dinov2": Dinov2(patch=6, width=16, layers=1, heads=2, hidden=24, grid=4),
    "resnet18-bn": ResNet18Bn(width=8),
}


@pytest.fixture(scope="module", params=SMALL)
def file(request, tmp_path_factory):
    """Name and file of an encoder with random weights."""
    options = SMALL[request.param]
    torch.manual_seed(3)
    tower = options.tower((24, 24))
    layout = options.layouts[0]
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file({layout.written(name): value.contiguous() for name, value in tower.state_dict().items()}, path)
    (path.parent / "config.json").write_text('{"num_attention_heads": 2}')
    return request.param, path


def recipe_for(shown, file, *, frozen, steps=12, rate=None):
    options, weights = read_encoder(*file)
    vision = vision_of(shown, ["top"], encoder=replace(options, frozen=frozen))
    recipe = hf.default_recipe(shown, vision=vision)
    model = Diffusion(network=FilmMlp(widths=(16,), embedding=8), levels=10, sampler=Sampler(steps=2))
    execution = replace(recipe.policy.execution, n_action_steps=2)
    policy = replace(recipe.policy, model=model, execution=execution, horizon=4)
    training = replace(
        recipe.training,
        steps=steps,
        batch_size=4,
        warmup_steps=2,
        save_every=4,
        precision="float32",
        encoder_learning_rate=rate,
    )
    return replace(recipe, policy=policy, training=training), encoders_with(vision, weights)


def seen(shown, row=0):
    return {"observation.state": shown.states[row], "top": shown.cameras["top"].read(torch.tensor([row]))[0]}


def weights_in(folder, part):
    stored = hf.load(folder, fast=False).planner.model.state_dict()
    return {name: value for name, value in stored.items() if part in name}


class Stopped(Exception):
    """Ends a training between two checkpoints."""


@pytest.mark.parametrize("frozen", [True, False])
def test_a_run_is_trained_stopped_resumed_and_loaded(shown, file, tmp_path, frozen):
    """Resumed without the file of the weights, it ends on the same bytes; frozen weights are those of the file."""
    recipe, encoders = recipe_for(shown, file, frozen=frozen, rate=None if frozen else 1e-4)
    fit(recipe, prepare(recipe, shown, encoders=encoders), tmp_path / "whole")

    def stop(state):
        if state.step == 6:
            raise Stopped

    with pytest.raises(Stopped):
        fit(recipe, prepare(recipe, shown, encoders=encoders), tmp_path / "run", on_step=stop)
    again = stored_encoders(recipe, tmp_path / "run")
    fit(recipe, prepare(recipe, shown, encoders=again), tmp_path / "run", resume=True)
    for name in EXACT:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    before = encoders.state_dict()
    after = weights_in(tmp_path / "whole", "cameras.")
    same = {name: torch.equal(before[name.removeprefix("cameras.")], value) for name, value in after.items()}
    assert len(same) == len(before) > 10
    statistics = {name for name in same if "running_" in name}
    assert {name for name, equal in same.items() if equal} >= (set(same) if frozen else statistics)
    assert frozen or not any(equal for name, equal in same.items() if name not in statistics and "key.bias" not in name)
    policy = hf.load(tmp_path / "whole")
    assert policy.select_action(seen(shown)).shape == (2,)


def test_cached_features_are_fresh_features(shown, file, tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path))
    recipe, encoders = recipe_for(shown, file, frozen=True)
    first = prepare(recipe, shown, encoders=encoders)
    assert first.cameras == {}
    assert len(list((tmp_path / "features").iterdir())) == 1
    with monkeypatch.context() as patch:
        patch.setattr(kept, "_computed", lambda *_: pytest.fail("computed again"))
        second = prepare(recipe, shown, encoders=encoders)
    assert torch.equal(first.features.content, second.features.content)
    now = torch.tensor([0, 11, 39])
    pictures = shown.cameras["top"].read(now)[:, None]
    torch.testing.assert_close(first.features.content[now], encoders({"top": pictures})[:, 0], atol=1e-5, rtol=1e-5)
    # the model of a training batch sees what the deployed policy sees
    model = hf.learn.planner_of(recipe, first, initial_state(recipe, first)).model
    window = first.windows_at(now)
    deployed = Observation(state=window.state[..., :2], images={"top": pictures})
    torch.testing.assert_close(model.seen(deployed).state, window.state, atol=1e-5, rtol=1e-5)


def test_other_pictures_and_weights_have_other_features(shown, file, tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path))
    recipe, encoders = recipe_for(shown, file, frozen=True)
    prepare(recipe, shown, encoders=encoders)
    pictures = shown.cameras["top"].read(torch.arange(40)).clone()
    pictures[17, 24, 24] ^= 255
    other = prepare(recipe, replace(shown, cameras={"top": Frames(pictures)}), encoders=encoders)
    data = prepare(recipe, shown, encoders=encoders)
    differ = (other.features.content != data.features.content).any(dim=1)
    assert differ.nonzero().flatten().tolist() == [17]
    assert other.features.digest != data.features.digest
    for stored in (tmp_path / "features").iterdir():
        stored.write_bytes(stored.read_bytes()[:-4])
    with pytest.warns(CacheWarning, match="damaged and are computed again"):
        again = prepare(recipe, shown, encoders=encoders)
    assert torch.equal(again.features.content, data.features.content)


def test_held_out_episodes_have_features(shown, file):
    recipe, encoders = recipe_for(shown, file, frozen=True)
    recipe = replace(recipe, held_out=0.25)
    data = prepare(recipe, shown, encoders=encoders)
    held_out = prepare_held_out(recipe, shown, data)
    assert len(held_out.features.content) == len(held_out) == 10
    assert hf.learn.held_out_loss(recipe, held_out, initial_state(recipe, data), windows=8) > 0


def test_noise_is_added_to_cached_features(shown, file):
    recipe, encoders = recipe_for(shown, file, frozen=True)
    data = prepare(recipe, shown, encoders=encoders)
    model = hf.learn.planner_of(recipe, data, initial_state(recipe, data)).model
    batch = data.batch(torch.arange(8), sigma=0.0, rng=stream(0, "noise"))
    draws = model.draw(batch.chunk.shape, rng=stream(1, "draws"))
    with torch.no_grad():
        assert not torch.equal(model.loss(batch, draws), model.loss(batch, replace(draws, noise=2 * draws.noise)))


def test_encoders_have_a_learning_rate_of_their_own():
    """The first update of AdamW is one learning rate long in every coordinate."""
    parameters = {"cameras.weight": torch.zeros(3), "inner.weight": torch.zeros(2)}
    options = Training(steps=10, warmup_steps=0, learning_rate=0.1, encoder_learning_rate=0.001, weight_decay=0.0)
    gradients = [torch.tensor([1.0, -2.0, 3.0]), torch.tensor([0.5, -1.0])]
    average = {name: value.clone() for name, value in parameters.items()}
    moments = zero_moments(parameters)
    chunk = torch.zeros(1, 1, 1)
    batch = Batch(observation=Observation(state=chunk), chunk=chunk, mask=torch.ones(1, 1, dtype=torch.bool))
    train_step(
        lambda *_: (torch.zeros(()), gradients), parameters, moments, average, batch, None, step=0, options=options
    )
    torch.testing.assert_close(parameters["cameras.weight"], torch.tensor([-0.001, 0.001, -0.001]))
    torch.testing.assert_close(parameters["inner.weight"], torch.tensor([-0.1, 0.1]))
    assert float(average["cameras.weight"].abs().sum()) > 0


def test_weights_are_asked_for(shown, file):
    recipe, _ = recipe_for(shown, file, frozen=True)
    with pytest.raises(RecipeError, match="needs the weights of a file"):
        prepare(recipe, shown)
    other, encoders = recipe_for(shown, file, frozen=False)
    with pytest.raises(RecipeError, match="encoders of another recipe or other weights"):
        prepare(recipe, shown, encoders=encoders)
    assert other.policy.vision.encoder.weights == recipe.policy.vision.encoder.weights


@pytest.fixture
def demos(shown, tmp_path):
    hf.write(shown, tmp_path / "demos")
    return tmp_path / "demos"


@pytest.mark.parametrize("training", ["frozen", "finetune", "0.003"])
def test_the_command_trains_and_loads(demos, file, tmp_path, training):
    name, path = file
    options = ["--images", "top", "--encoder", name, "--encoder-weights", str(path), "--encoder-training", training]
    out = tmp_path / "run"
    assert main(["train", str(demos), "--out", str(out), "--steps", "2", "--threads", "1", *options]) == 0
    recipe = hf.learn.load_recipe(out)
    rate = {"frozen": None, "finetune": recipe.training.learning_rate / 10, "0.003": 0.003}[training]
    assert recipe.training.encoder_learning_rate == rate
    assert recipe.policy.vision.frozen is (training == "frozen")
    path.rename(path.with_suffix(".away"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            policy = hf.load(out)
        assert isinstance(policy, Policy)
        assert main(["train", "--resume", str(out)]) == 0
    finally:
        path.with_suffix(".away").rename(path)


@pytest.mark.parametrize("training", ["frozen", "finetune"])
def test_an_estimator_sees_through_a_pre_trained_encoder(demos, file, tmp_path, training):
    name, path = file
    options = ["--images", "top", "--encoder", name, "--encoder-weights", str(path), "--encoder-training", training]
    estimated = ["--estimate", "observation.state", "--readings", "none", "--held-out", "0.25", "--steps", "2"]
    out = tmp_path / "eyes"
    assert main(["train", str(demos), "--out", str(out), *estimated, *options, "--threads", "1"]) == 0
    episodes, estimator = hf.read(demos), hf.load_estimator(out)
    seen = Observation(state=episodes.states[:3], images={"top": episodes.cameras["top"].read(torch.arange(3))})
    found = estimator.estimate(seen)
    assert found.shape == (3, 2)
    assert bool(found.isfinite().all())
    assert not torch.equal(found[0], found[1])
    assert hf.learn.estimator_errors(out).episodes == 1
    assert hf.learn.load_recipe(out).policy.vision.frozen is (training == "frozen")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--images", "top", "--encoder", "clip"], "the encoder clip starts from the weights of a file. Add"),
        (["--images", "top", "--encoder-training", "frozen"], "an encoder with random weights cannot be frozen"),
        (["--images", "top", "--encoder-training", "fast"], "expected --encoder-training as frozen, finetune or a l"),
        (["--images", "top", "--encoder-training", "-1"], "got -1"),
        (["--encoder-weights", "w.safetensors"], "--encoder-weights is for policies that see pictures"),
        (["--encoder-training", "frozen"], "--encoder-training is for policies that see pictures"),
        (["--images", "top", "--encoder", "clip", "--encoder-weights", "w.safetensors"], "w.safetensors is not a file"),
    ],
)
def test_options_that_do_not_fit_are_refused(demos, tmp_path, capsys, options, message):
    assert main(["train", str(demos), "--out", str(tmp_path / "run"), "--steps", "2", *options]) != 0
    captured = capsys.readouterr()
    assert message in " ".join((captured.out + captured.err).split())
