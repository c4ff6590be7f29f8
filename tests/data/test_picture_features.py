"""Features of pictures by a function: of data sets and of running episodes, with motion, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import holdfast as hf
from holdfast.data import FeatureWindow, Frames, PictureFeatures
from holdfast.envs import Featured, PlainPolicy, rollout
from holdfast.errors import DataError, InterfaceError, RecipeError, ShapeError
from holdfast.types import Observation

from ..learn.squares import SIZE, Squares, painted


def centre(pictures):
    """Mean column and row of the red pixels, from −1 to 1 for centres 4 … SIZE − 5."""
    red = pictures["top"][..., 0] > 200
    places = np.arange(SIZE)
    row = (red.sum(-1) * places).sum(-1) / red.sum((-2, -1))
    column = (red.sum(-2) * places).sum(-1) / red.sum((-2, -1))
    return (np.stack([column, row], -1) - 4) / (SIZE - 9) * 2 - 1


def place(pictures):
    return centre(pictures)[:, -1]


def motion(pictures):
    found = centre(pictures)
    return np.concatenate([found[:, -1], found[:, -1] - found[:, 0]], axis=-1)


PLACE = PictureFeatures(function=place, names=("x", "y"), cameras=("top",), batch=4)
MOTION = PictureFeatures(function=motion, names=("x", "y", "dx", "dy"), cameras=("top",), steps=2, batch=4)


@pytest.fixture
def episodes():
    rng = torch.Generator().manual_seed(0)
    targets = 2 * torch.rand(11, 2, generator=rng, dtype=torch.float64) - 1
    own = [torch.full((count, 2), 0.5, dtype=torch.float64) for count in (6, 5)]
    made = hf.episodes_from_arrays(own, list(targets.split([6, 5])), dt=0.1, names={"state": ("a", "b")})
    return replace(made, cameras={"top": Frames(painted(targets))})


def test_features_take_the_place_of_the_environments_state(episodes):
    found = PLACE.added_to(episodes)
    assert found.names["observation.environment_state"] == ("x", "y")
    # a pixel is 2 / 15 of the range, and places are rounded to whole pixels
    assert (found.observed.environment_state - episodes.actions).abs().max() <= 1 / (SIZE - 9) + 1e-9
    assert torch.equal(found.states, episodes.states)
    assert found.observed.environment_state.dtype == torch.float64


def test_motion_is_that_of_the_last_steps_within_an_episode(episodes):
    found = MOTION.added_to(episodes).observed.environment_state
    place, moved = found[:, :2], found[:, 2:]
    assert torch.equal(moved[0], torch.zeros(2, dtype=torch.float64))
    assert torch.equal(moved[6], torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(moved[1:6], place[1:6] - place[:5])
    torch.testing.assert_close(moved[7:], place[7:] - place[6:-1])


def test_running_episodes_give_the_features_of_their_data(episodes):
    window, expected = FeatureWindow(MOTION), MOTION.added_to(episodes).observed.environment_state
    for first, last in ((0, 6), (6, 11)):
        window.reset()
        for row in range(first, last):
            seen = Observation(
                state=episodes.states[row : row + 1], images={"top": episodes.cameras["top"].read(torch.tensor([row]))}
            )
            assert torch.equal(window.observed(seen).environment_state[0], expected[row])


def test_one_episode_needs_no_batch(episodes):
    seen = Observation(state=episodes.states[0], images={"top": episodes.cameras["top"].read(torch.tensor([0]))[0]})
    found = FeatureWindow(PLACE).observed(seen)
    assert torch.equal(found.environment_state, PLACE.added_to(episodes).observed.environment_state[0])
    with pytest.raises(DataError, match=r"expected a holdfast\.Observation with state and images, got dict"):
        FeatureWindow(PLACE).observed({"observation.state": episodes.states[0]})


def test_pictures_of_given_observations_are_cameras(episodes):
    pictures = episodes.cameras["top"].read(torch.arange(11)).split([6, 5])
    own = list(episodes.states.split([6, 5]))
    seen = [Observation(state=state, images={"top": shown}) for state, shown in zip(own, pictures, strict=True)]
    made = hf.episodes_from_arrays(own, own, observations=seen)
    assert torch.equal(made.cameras["top"].read(torch.arange(11)), torch.cat(pictures))
    with pytest.raises(DataError, match="show other cameras than the first"):
        hf.episodes_from_arrays(own, own, observations=[seen[0], replace(seen[1], images={})])


def test_a_policy_of_features_in_an_environment():
    """The policy moves to where the function finds the square, whatever the camera is called."""
    policy = PlainPolicy(lambda observation: observation[2:])
    environment = Featured(Squares("front"), PLACE)
    found = rollout(policy, environment, starts=list(range(6)))
    errors = found.trajectory.actions[:, 0] - environment.inner.targets
    assert float(errors.abs().max()) <= 1 / (SIZE - 9) + 1e-6
    assert found.names["observation.environment_state"] == ("x", "y")
    with pytest.raises(InterfaceError, match="has none of top; it has no pictures"):
        rollout(policy, Featured(Squares(None), PLACE), starts=[0])


def test_a_policy_is_trained_on_features_and_run_with_them(episodes):
    """From pictures to a closed loop with every check of names and sizes."""
    data = PLACE.added_to(episodes)
    recipe = hf.default_recipe(data)
    recipe = replace(recipe, training=replace(recipe.training, steps=3, batch_size=8, precision="float32"))
    prepared = hf.prepare(recipe, data)
    policy = hf.Policy(hf.planner_of(recipe, prepared, hf.train_to_end(recipe, prepared)))
    assert policy.interface.observation.names == ("a", "b", "x", "y")
    assert rollout(policy, Featured(Squares(), PLACE), starts=[0, 1]).trajectory.actions.isfinite().all()
    with pytest.raises(ShapeError, match="trained on 4"):
        rollout(policy, Squares(), starts=[0])


def test_what_does_not_fit_is_refused(episodes):
    wide = replace(PLACE, function=motion)
    with pytest.raises(ShapeError, match=r"features of shape \[4, 2\], one row for each entry.*x, y, got \[4, 4\]"):
        wide.added_to(episodes)
    with pytest.raises(DataError, match="not finite"):
        replace(PLACE, function=lambda pictures: np.full((len(pictures["top"]), 2), np.nan)).added_to(episodes)
    with pytest.raises(DataError, match="returned no array of numbers"):
        replace(PLACE, function=lambda pictures: [["a", "b"]] * len(pictures["top"])).added_to(episodes)
    with pytest.raises(DataError, match="the data have no wrist; they have top"):
        replace(PLACE, cameras=("wrist",)).added_to(episodes)
    for wrong in ({"names": ()}, {"names": ("x", "x")}, {"names": "xy"}, {"cameras": "top"}):
        with pytest.raises(DataError, match="expected names of the"):
            replace(PLACE, **wrong)
    with pytest.raises(DataError, match="expected a function of pictures, got int"):
        replace(PLACE, function=3)
    with pytest.raises(RecipeError, match="steps"):
        replace(PLACE, steps=0)
    window = FeatureWindow(PLACE)
    window.observed(Observation(state=torch.zeros(2, 2), images={"top": painted(torch.zeros(2, 2))}))
    with pytest.raises(ShapeError, match=r"another shape than before. Call reset\(\)"):
        window.observed(Observation(state=torch.zeros(1, 2), images={"top": painted(torch.zeros(1, 2))}))
