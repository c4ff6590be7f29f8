"""Policies from pictures: trained, stopped and resumed, loaded, run, and refused where the pictures are others."""

import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

import holdfast as hf
from holdfast.data import Affine, Frames
from holdfast.data.pictures import Encoded, compressed
from holdfast.envs import rollout
from holdfast.errors import DataError, InterfaceError, InterfaceWarning, RecipeError, RunError, ShapeError
from holdfast.learn import fit, prepare, prepare_held_out, train_variants_to_end, vision_of
from holdfast.learn.fingerprint import Fingerprint
from holdfast.models import Diffusion, Sampler
from holdfast.nn import FilmMlp, SmallCnn
from holdfast.policy import Policy
from holdfast.seeding import stream
from holdfast.serve.planning import Job, Session, plan_all
from holdfast.serve.requests import request_of
from holdfast.serve.served import Served
from holdfast.types import Episodes, Observation

from .squares import SIZE, Squares, painted

EXACT = ["model.safetensors", "scale.json", "interface.json", "recipe.json", "train_state/state.safetensors"]


def episodes_of(count=6, steps=10, seed=0, stored=Frames):
    """Actions that point at a square, which only the picture and the environment state show."""
    rng = stream(seed, "targets")
    targets = 2 * torch.rand(count * steps, 2, generator=rng) - 1
    states = torch.rand(count * steps, 2, generator=rng)
    return Episodes(
        actions=targets,
        states=states,
        lengths=torch.full((count,), steps),
        observations=Observation(state=states, environment_state=targets),
        cameras={"top": stored(painted(targets))},
        names={"observation.state": ("a", "b"), "observation.environment_state": ("x", "y")},
        dt=0.1,
    )


def files(pictures):
    shown = Frames(pictures)
    return Encoded.of([compressed(shown, row) for row in range(len(shown))], shown.shape)


def recipe_for(episodes, **training):
    recipe = hf.default_recipe(episodes, vision=vision_of(episodes, ["top"]))
    vision = replace(recipe.policy.vision, encoder=SmallCnn(channels=4, strides=(1, 2)), noises=2)
    model = Diffusion(network=FilmMlp(widths=(32, 32), embedding=8), levels=20, sampler=Sampler(steps=4))
    execution = replace(recipe.policy.execution, n_action_steps=2, sigma_features=0.05)
    policy = replace(recipe.policy, vision=vision, model=model, execution=execution, horizon=4)
    settings = {"steps": 60, "batch_size": 8, "warmup_steps": 4, "save_every": 20, "precision": "float32"}
    return replace(recipe, policy=policy, training=replace(recipe.training, **{**settings, **training}))


@pytest.fixture(scope="module")
def shown():
    return episodes_of(stored=files)


@pytest.fixture(scope="module")
def run(shown, tmp_path_factory):
    """A run of 60 updates: it has learned little, but is complete."""
    folder = tmp_path_factory.mktemp("run")
    recipe = recipe_for(shown)
    fit(recipe, prepare(recipe, shown), folder, overwrite=True)
    return folder


def seen(episodes, row=0):
    return {
        "observation.state": episodes.states[row],
        "observation.images.top": episodes.cameras["top"].read(torch.tensor([row]))[0],
    }


class Stopped(Exception):
    """Ends a training between two checkpoints."""


@pytest.mark.parametrize("stored", [Frames, files])
def test_a_stopped_training_ends_on_the_same_bytes(run, tmp_path, stored):
    """Also from pictures that are stored in another way."""
    episodes = episodes_of(stored=stored)
    recipe = recipe_for(episodes)

    def stop(state):
        if state.step == 33:
            raise Stopped

    with pytest.raises(Stopped):
        fit(recipe, prepare(recipe, episodes), tmp_path / "run", on_step=stop)
    fit(recipe, prepare(recipe, episodes), tmp_path / "run", resume=True)
    for name in EXACT:
        assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes(), name


def test_one_changed_pixel_is_other_data(run, shown, tmp_path):
    pictures = shown.cameras["top"].read(torch.arange(60))
    pictures[37, 5, 5, 1] ^= 1
    other = replace(shown, cameras={"top": Frames(pictures)})
    shutil.copytree(run, tmp_path / "run")
    with pytest.raises(RunError, match="the demonstrations differ"):
        fit(recipe_for(other), prepare(recipe_for(other), other), tmp_path / "run", resume=True)
    assert Fingerprint.of(prepare(recipe_for(shown), shown)) == Fingerprint.of(
        prepare(recipe_for(shown), episodes_of())
    )


@pytest.mark.slow
def test_a_policy_finds_what_only_the_picture_shows():
    """Held-out squares: much nearer than the mean action, which is all that the readings tell."""
    episodes = episodes_of(20, 20)
    recipe = recipe_for(episodes, steps=1500, batch_size=32, learning_rate=3e-3, sigma_train=0.0)
    execution = replace(recipe.policy.execution, n_action_steps=1, sigma_deploy=0.0, sigma_features=0.0)
    recipe = replace(recipe, policy=replace(recipe.policy, horizon=1, execution=execution))
    data = prepare(recipe, episodes)
    policy = Policy(hf.learn.planner_of(recipe, data, hf.learn.train_to_end(recipe, data)))
    other = episodes_of(4, 10, seed=1)
    policy.reset(0)
    pictures = other.cameras["top"].read(torch.arange(40))
    actions = policy.act(Observation(state=other.states, images={"top": pictures}), other.states)
    assert float((actions - other.actions).square().mean()) < 0.05 < float(other.actions.var())


def test_held_out_episodes_have_pictures(shown):
    recipe = replace(recipe_for(shown), held_out=0.34)
    data = prepare(recipe, shown)
    held_out = prepare_held_out(recipe, shown, data)
    state = hf.learn.initial_state(recipe, data)
    assert len(held_out.cameras["top"]) == len(held_out) == 20
    assert np.isfinite(hf.learn.held_out_loss(recipe, held_out, state, windows=8))


def test_the_recipe_sees_the_robot_alone_unless_asked(shown):
    robot = hf.default_recipe(shown, vision=vision_of(shown, ["top"])).policy
    both = hf.default_recipe(shown, vision=vision_of(shown, ["top"], readings="all")).policy
    none = hf.default_recipe(shown, vision=vision_of(shown, ["top"], readings="none")).policy
    assert (robot.n_observed, robot.n_seen) == (2, 66)
    assert (both.n_observed, both.n_seen) == (4, 68)
    assert (none.n_observed, none.n_seen) == (2, 64)
    assert prepare(recipe_for(shown), shown).interface.observation.names == ("a", "b")


def test_a_loaded_policy_plans_what_the_saved_one_plans(run, shown, tmp_path):
    first = hf.load(run)
    first.save_pretrained(tmp_path / "copy")
    second = hf.load(tmp_path / "copy")
    for policy in (first, second):
        policy.reset(3)
    for row in range(5):
        assert torch.equal(first.select_action(seen(shown, row)), second.select_action(seen(shown, row)))
    assert first.predict_action_chunk(seen(shown)).shape == (4, 2)
    assert first.interface.cameras[0].name == "top"
    assert first.interface.cameras[0].shape == (SIZE, SIZE, 3)


def test_noise_on_features_is_fresh_at_every_plan_and_can_be_switched_off(run, shown):
    policy = hf.load(run)
    window = Observation(
        state=shown.states[:1, None], images={"top": shown.cameras["top"].read(torch.tensor([0]))[:, None]}
    )
    plans = policy.executor.plans
    quiet = replace(plans, sigma=0.0, sigma_features=0.0)
    loud = replace(plans, sigma=0.0, sigma_features=0.05)
    still = quiet.noised(window, rng=stream(0, "noise")).state
    assert torch.equal(still, quiet.noised(window, rng=stream(1, "noise")).state)
    noise = torch.cat([loud.noised(window, rng=stream(s, "noise")).state - still for s in range(400)])
    assert bool((noise[..., :2] == 0).all()), "readings have noise of their own"
    assert abs(float(noise[..., 2:].std()) - 0.05) < 0.003


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda picture: picture.permute(2, 0, 1), ShapeError, r"got \[3, 24, 24\]. Its channels come first"),
        (lambda picture: picture[:20], ShapeError, r"shape \[24, 24, 3\].*got \[20, 24, 3\]. Resize it"),
        (lambda picture: picture[..., 0], ShapeError, "Its channels are missing"),
        (lambda picture: picture / 255, DataError, "fractions from 0 to 1, multiply them by 255"),
        (lambda picture: picture.int(), DataError, "Convert them to uint8"),
        (lambda picture: picture.numpy().astype(np.float32), DataError, "bytes"),
        (lambda picture: picture.numpy().astype(np.uint16), DataError, r"uint16 numbers from 0 to 250. Convert them"),
        (
            lambda picture: picture.numpy().astype(np.uint16) * 257,
            DataError,
            r"uint16 numbers from 0 to 64250. Scale them",
        ),
        (lambda picture: picture.numpy() + 0j, DataError, "as in training, got an array of complex128"),
        (lambda picture: picture + 0j, DataError, "dense tensor of real numbers, got a complex one"),
        (lambda picture: picture.to_sparse(), DataError, "got a sparse one"),
        (lambda picture: [[1, 2], [3]], DataError, "got a value of type list that is no array"),
        (lambda picture: object(), DataError, "got an array of object"),
        (lambda picture: np.ma.masked_array(picture.numpy(), picture.numpy() > 9), DataError, "got masked entries"),
        (
            lambda picture: picture[None],
            ShapeError,
            "one picture of camera .top. for one.*batch of 1 picture",
        ),
        (lambda picture: np.array(["a"]), DataError, "got an array of <U1"),
        (lambda picture: None, InterfaceError, "no picture of camera 'top'"),
    ],
)
def test_other_pictures_are_refused(run, shown, change, error, message):
    given = seen(shown)
    picture = change(given.pop("observation.images.top"))
    if picture is not None:
        given["observation.images.top"] = picture
    with pytest.raises(error, match=message):
        hf.load(run).select_action(given)


@pytest.mark.parametrize("view", [np.s_[..., ::-1], np.s_[::-1], np.s_[:, ::-1]])
def test_reversed_axes_are_read_as_their_copies(run, shown, view):
    """NumPy's views with negative strides, with which programs turn BGR to RGB and flip pictures."""
    actions = list[torch.Tensor]()
    for copied in (np.ascontiguousarray, np.asarray):
        policy, given = hf.load(run), seen(shown)
        policy.reset(0)
        given["observation.images.top"] = copied(given["observation.images.top"].numpy()[view])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InterfaceWarning)
            actions.append(policy.select_action(given))
    assert torch.equal(*actions)


def blind(shown, **changes):
    """A policy that sees no readings."""
    recipe = recipe_for(shown, steps=1)
    vision = replace(recipe.policy.vision, readings="none")
    recipe = replace(recipe, policy=replace(recipe.policy, vision=vision, **changes))
    data = prepare(recipe, shown)
    return Policy(hf.learn.planner_of(recipe, data, hf.learn.train_to_end(recipe, data)))


def test_a_policy_without_readings_needs_pictures_only(shown):
    given = seen(shown)
    pictures = {"observation.images.top": given["observation.images.top"]}
    actions = list[torch.Tensor]()
    for observation in (given, pictures, {"top": pictures["observation.images.top"]}):
        policy = blind(shown)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            actions.append(policy.select_action(observation))
    torch.testing.assert_close(actions[0], actions[1], check_dtype=False)
    torch.testing.assert_close(actions[0], actions[2], check_dtype=False)
    batch = {"top": torch.stack([pictures["observation.images.top"]] * 3)}
    assert blind(shown).select_action(batch).shape == (3, 2)
    assert blind(shown).predict_action_chunk(pictures).shape == (4, 2)


def test_gains_without_readings_ask_for_the_state(shown):
    policy = blind(shown, codec=Affine())
    pictures = {"top": seen(shown)["observation.images.top"]}
    with pytest.raises(InterfaceError, match="feeds back a state of 2 numbers, but was given pictures only"):
        policy.select_action(pictures)
    assert policy.select_action(pictures, state=shown.states[0]).shape == (2,)


def test_data_without_cameras_say_so(shown):
    bare = replace(shown, cameras={})
    with pytest.raises(DataError, match="have no cameras, so that the policy cannot see top"):
        vision_of(bare, ["top"])
    with pytest.raises(DataError, match="video files of side are missing"):
        vision_of(replace(bare, meta={"cameras_missing": ["side"]}), ["top"])
    with pytest.raises(RecipeError, match="cameras, each of them once, got top, top"):
        vision_of(shown, ["top", "top"])


def test_reversed_colours_are_suspected(run, shown):
    policy, given = hf.load(run), seen(shown)
    policy.reset(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy.select_action(given)
    policy.reset(0)
    with pytest.warns(InterfaceWarning, match="reverse order .BGR"):
        policy.select_action({**given, "observation.images.top": given["observation.images.top"].flip(-1)})


def test_data_without_the_camera_are_refused(shown):
    recipe = recipe_for(shown)
    with pytest.raises(DataError, match="no camera 'top'; cameras that can be read: none"):
        prepare(recipe, replace(shown, cameras={}))
    small = replace(shown, cameras={"top": Frames(torch.zeros(60, 8, 8, 3, dtype=torch.uint8))})
    with pytest.raises(DataError, match=r"expected pictures \[24, 24, 3\]"):
        prepare(recipe, small)
    data = prepare(recipe, shown)
    with pytest.raises(RecipeError, match="one seed at a time"):
        train_variants_to_end([recipe, recipe], [data, data])


def test_rollouts_show_the_policy_its_pictures(run):
    policy = hf.load(run)
    result = rollout(policy, Squares(), starts=[0, 1, 2], images=True)
    assert result.observations.images["top"].shape == (3, 4, SIZE, SIZE, 3)
    again = rollout(policy, Squares(), starts=[0, 1, 2])
    assert torch.equal(result.trajectory.actions, again.trajectory.actions)
    with pytest.warns(InterfaceWarning, match="only the camera front"):
        other = rollout(policy, Squares("front"), starts=[0, 1, 2])
    assert torch.equal(result.trajectory.actions, other.trajectory.actions)
    with pytest.raises(InterfaceError, match="squares does not show top"):
        rollout(policy, Squares(None), starts=[0])
    with pytest.raises(ShapeError, match=r"squares shows pictures of shape \[20, 24, 3\].*trained on \[24, 24, 3\]"):
        rollout(policy, Squares(size=20), starts=[0])


def test_a_served_policy_plans_what_the_policy_plans(run, shown):
    policy = hf.load(run)
    served, given = Served.of(policy), seen(shown)
    message = {"observation/state": given["observation.state"].numpy()}
    message["observation/images/top"] = given["observation.images.top"].numpy()
    session = Session(served, 7)
    (reply,) = plan_all([Job(session, request_of(message, served))])
    alone = Policy(policy.planner, seed=7)
    expected = alone.executor.limit(alone.predict_controllers(given).actions)
    torch.testing.assert_close(reply.actions, expected)
    assert served.metadata(0)["observation"]["images"] == {"top": [SIZE, SIZE, 3]}
    with pytest.raises(InterfaceError, match="side"):
        request_of({**message, "observation/images/side": message["observation/images/top"]}, served)


class Changed(Squares):
    """The squares, shown in another way."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def _shown(self):
        step = super()._shown()
        images = {"top": self.change(step.observation.images["top"])}
        return replace(step, observation=replace(step.observation, images=images))


FAULTS = {
    "another size": (lambda pictures: pictures[..., :20, :, :], ShapeError, r"\[20, 24, 3\]"),
    "channels first": (lambda pictures: pictures.movedim(-1, -3), ShapeError, r"\[3, 24, 24\]"),
    "fractions": (lambda pictures: pictures / 255, DataError, "fractions from 0 to 1"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_evaluation_and_server_refuse_what_select_action_refuses(run, shown, fault):
    change, error, message = FAULTS[fault]
    policy = hf.load(run)
    # pictures of an environment are bytes by their type
    if fault != "fractions":
        with pytest.raises(error, match=message):
            rollout(policy, Changed(change), starts=[0, 1])
    given = seen(shown)
    asked = {"observation/state": given["observation.state"].numpy()}
    asked["observation/images/top"] = change(given["observation.images.top"]).numpy()
    with pytest.raises(error, match=message):
        request_of(asked, Served.of(policy))
    with pytest.raises(InterfaceError, match="top"):
        request_of({"observation/state": asked["observation/state"]}, Served.of(policy))


def test_evaluation_and_server_suspect_reversed_colours(run, shown):
    policy, given = hf.load(run), seen(shown)
    with pytest.warns(InterfaceWarning, match="reverse order .BGR"):
        rollout(policy, Changed(lambda pictures: pictures.flip(-1)), starts=[0, 1])
    asked = {"observation/state": given["observation.state"].numpy()}
    asked["observation/images/top"] = given["observation.images.top"].flip(-1).numpy()
    served = Served.of(policy)
    (reply,) = plan_all([Job(Session(served, 7), request_of(asked, served))])
    assert any("reverse order (BGR" in sentence for sentence in reply.warnings)
