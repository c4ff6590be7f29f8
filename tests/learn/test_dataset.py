"""Training sets: low-dimensional readings in two parts, images and instructions on request."""

from dataclasses import replace

import pytest
import torch

from holdfast.data import Frames
from holdfast.errors import DataError, RecipeError
from holdfast.learn import check_variants, training_set
from holdfast.policy import PolicySpec
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation, PrimitiveControllers

SPEC = PolicySpec(n_states=2, n_actions=1, n_observed=3, n_obs_steps=2, horizon=8)


class Unread(Frames):
    """Images that no one may read."""

    def read(self, rows):
        raise AssertionError("images were read")


@pytest.fixture
def episodes(gaussian) -> Episodes:
    """Two episodes of three and four steps; pixel (0, 0) of a row's image is the row's number."""
    images = torch.zeros(7, 2, 3, 3, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(7)
    return Episodes(
        actions=gaussian(0, 7, 1),
        states=gaussian(1, 7, 2),
        lengths=torch.tensor([3, 4]),
        observations=Observation(state=gaussian(2, 7, 1), environment_state=gaussian(3, 7, 2)),
        cameras={"wrist": Frames(images), "other": Unread(images)},
        tasks=("lift", "push"),
    )


def made(episodes, **options):
    controllers = PrimitiveControllers.open_loop(episodes.actions, episodes.states)
    return training_set(SPEC, episodes, controllers, **options)


def test_readings_in_two_parts_are_normalised_and_noised_like_one_vector(episodes):
    joined = replace(episodes, observations=Observation(state=episodes.observed.vector))
    now = torch.tensor([0, 2, 5])
    parts, whole = (made(one).batch(now, sigma=0.3, rng=stream(0, "tests")).observation for one in (episodes, joined))
    assert parts.state.shape == (3, 2, 1)
    assert parts.environment_state.shape == (3, 2, 2)
    assert torch.equal(parts.vector, whole.vector)
    assert (parts.images, parts.task) == ({}, None)


def test_images_and_tasks_come_with_the_batch_where_asked_for(episodes):
    data = made(episodes, images=("wrist",), tasks=True)
    observation = data.batch(torch.tensor([3, 0, 6, 2]), sigma=0.1, rng=stream(0, "tests")).observation
    assert list(observation.images) == ["wrist"]
    assert observation.images["wrist"].shape == (4, 2, 2, 3, 3)
    # two observations; the first of an episode repeats
    assert observation.images["wrist"][:, :, 0, 0, 0].tolist() == [[3, 3], [0, 0], [5, 6], [1, 2]]
    assert observation.task == ("push", "lift", "push", "lift")


def test_what_the_episodes_lack_is_refused(episodes, tiny_recipe):
    with pytest.raises(DataError, match="expected cameras head, got wrist, other"):
        made(episodes, images=("head", "wrist"))
    with pytest.raises(DataError, match="these episodes have none"):
        made(replace(episodes, tasks=None), tasks=True)
    with pytest.raises(RecipeError, match="low-dimensional readings only"):
        check_variants([tiny_recipe], [made(episodes, images=("wrist",))])
