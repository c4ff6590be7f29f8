"""Cameras and labels that are wrong in some of the episodes, and objects that a hand pushes."""

import numpy as np
import pytest
import torch

from holdfast.data.doctor.consistency import check_views
from holdfast.data.doctor.consistency.clusters import agrees, far_of
from holdfast.data.doctor.consistency.steps import steps_of
from holdfast.data.doctor.recording import recording_of
from holdfast.data.doctor.semantics import Meaning
from holdfast.data.pictures import Frames

from .consistency_robots import Setup
from .robot_parts import joined


@pytest.mark.parametrize("some", [[3, 11], [0, 5, 6, 19], [0, 1, 19]])
def test_cameras_exchanged_in_some_episodes(some):
    rng = torch.Generator().manual_seed(1)
    scenes = torch.randint(0, 200, (2, 24, 24, 3), generator=rng)
    front, wrist = (scenes[:, None] + torch.randint(0, 40, (2, 60, 24, 24, 3), generator=rng)).to(torch.uint8)
    rows = torch.tensor([3 * e + k for e in some for k in range(3)])
    front[rows], wrist[rows] = wrist[rows].clone(), front[rows].clone()
    zeros = np.zeros((3, 1), dtype=np.float32)
    made = joined([(zeros, zeros)] * 20, Setup().dt, cameras={"front": Frames(front), "wrist": Frames(wrist)})
    (found,) = check_views(made)
    assert found.values == {"cameras": ["front", "wrist"], "episodes": some}


def test_two_clusters_of_a_distance_do_not_depend_on_labels():
    rng = np.random.default_rng(4)
    near, far = np.abs(rng.normal(0.01, 0.003, 40)), rng.uniform(0.1, 0.3, 12)
    distances, failed = np.concatenate([near, far]), np.arange(52) >= 40
    found = far_of(distances, 3)
    assert found is not None
    assert found[0].tolist() == failed.tolist()
    assert near.max() < found[1] < far.min()
    flipped = failed ^ np.isin(np.arange(52), [1, 7, 20, 33, 41, 47])
    assert agrees(found[0], flipped)
    assert not agrees(found[0], rng.permutation(failed))
    # distances that are spread evenly have no clusters
    assert far_of(np.hypot(*rng.normal(0, 0.1, (2, 52))), 3) is None


def test_an_object_that_is_pushed_belongs_to_no_action():
    rng = np.random.default_rng(0)
    parts = []
    for _ in range(14):
        command = np.cumsum(rng.normal(0.02, 0.1, 90))
        hand = np.zeros(90)
        for t in range(1, 90):
            hand[t] = hand[t - 1] + 0.4 * (command[t - 1] - hand[t - 1])
        thing = np.maximum.accumulate(np.maximum(hand, 0.2))
        parts.append((np.stack([hand, thing], axis=1), command[:, None]))
    made = joined(parts, Setup().dt)
    steps = steps_of(recording_of(made))
    assert steps is not None
    meant = [Meaning(action="action[0]", kind="target", state="state[0]")]
    assert steps.others == frozenset()
    assert steps.of(meant).others == {(1, 0)}
