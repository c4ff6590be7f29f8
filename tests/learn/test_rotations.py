"""Rotations as six numbers: encoding, decoding, storing, executing and averaging, and training on Square."""

import json
import math
from dataclasses import replace

import pytest
import torch

import holdfast
from holdfast.analysis import seams
from holdfast.cli import main
from holdfast.cli.rotation_options import rotations_named
from holdfast.data import Actions, decode, encode, read, width
from holdfast.errors import DataError, RecipeError, UnknownNameError
from holdfast.learn import checkpoint, fit, prepare
from holdfast.models import Regression
from holdfast.nn import FilmMlp
from holdfast.policy import Ensemble, Execution, PolicySpec
from holdfast.policy.ensemble import TemporalEnsemble
from holdfast.policy.execute import ChunkExecutor
from holdfast.recipe import Recipe, Training
from holdfast.rotations import Rotation, matrix_from_vector, quaternion_from_vector
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation, PrimitiveControllers, Trajectory

from ..data.square_set import SQUARE, needs_square

TURNED = (Rotation(1, "axis-angle"),)
SEEN = (Rotation(2, "quaternion"),)


def turning(episodes=6, steps=20):
    """A hand that turns about z, through half a turn: quaternions with random signs, goals as rotation vectors."""
    rng, rows = stream(0, "turning"), episodes * steps
    angle = torch.linspace(2.5, 3.9, steps, dtype=torch.float64).repeat(episodes)
    axis = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    signs = torch.randint(0, 2, (rows, 1), generator=rng) * 2 - 1
    quaternions = signs * quaternion_from_vector(angle[:, None] * axis)
    wrapped = torch.remainder(angle + 0.05 + math.pi, 2 * math.pi) - math.pi
    place = torch.randn(rows, 2, generator=rng, dtype=torch.float64)
    return Episodes(
        actions=torch.cat([place[:, :1], wrapped[:, None] * axis], dim=1),
        states=torch.cat([place, quaternions], dim=1),
        lengths=torch.full((episodes,), steps),
        names={"state": ("x", "y", "q_0", "q_1", "q_2", "q_3"), "action": ("u", "r_0", "r_1", "r_2")},
        dt=0.1,
    )


def recipe_for(episodes, **changes):
    spec = PolicySpec(
        n_states=6,
        n_actions=4,
        n_observed=6,
        codec=Actions(TURNED),
        observed_rotations=SEEN,
        model=Regression(network=FilmMlp(widths=(32, 32))),
        n_obs_steps=2,
        horizon=4,
        execution=Execution(n_action_steps=2),
    )
    training = Training(steps=20, batch_size=16, warmup_steps=2)
    return Recipe(policy=replace(spec, **changes), training=training)


def test_the_codec_encodes_six_numbers_and_acts_in_those_of_the_data():
    episodes = turning()
    codec = Actions(TURNED)
    controllers = PrimitiveControllers.open_loop(episodes.actions, episodes.states)
    code = encode(codec, controllers)
    assert code.shape[1] == width(codec, n_states=6, n_actions=4) == 7
    # both sides of a half turn are close: a step of 0.07 rad changes no number by more
    inside = torch.ones(len(code) - 1, dtype=torch.bool)
    inside[19::20] = False
    assert float(code[:, 1:].diff(dim=0).abs().amax(1)[inside].max()) < 0.08
    assert float(episodes.actions[:, 3].diff().abs().max()) > 6
    again = decode(codec, 1.7 * code, n_states=6, n_actions=4).actions
    assert torch.allclose(again[:, 1:], episodes.actions[:, 1:], atol=1e-12)


def test_a_set_is_encoded_and_signs_do_not_matter():
    episodes = turning()
    data = prepare(recipe_for(episodes), episodes)
    assert data.observations.vector.shape[1] == len(data.observation_scale.low) == 8
    flipped = replace(episodes, states=episodes.states * torch.tensor([1, 1, -1, -1, -1, -1]))
    other = prepare(recipe_for(flipped), flipped)
    assert torch.allclose(other.observations.vector, data.observations.vector, atol=1e-15)


def test_a_policy_is_stored_with_its_rotations_and_acts_on_raw_numbers(tmp_path):
    episodes = turning()
    recipe = recipe_for(episodes)
    fit(recipe, prepare(recipe, episodes), tmp_path / "run")
    policy = holdfast.load(tmp_path / "run")
    assert policy.spec.codec == Actions(TURNED)
    assert policy.spec.observed_rotations == SEEN
    state = episodes.states[[3, 30]]
    policy.reset(seed=0)
    action = policy.select_action(Observation(state=state))
    assert action.shape == (2, 4)
    # the numbers are a rotation vector of at most half a turn, whatever the network says
    assert float(action[:, 1:].norm(dim=1).max()) <= math.pi + 1e-6
    policy.reset(seed=0)
    again = policy.select_action(Observation(state=state * torch.tensor([1, 1, -1, -1, -1, -1])))
    assert torch.allclose(action, again, atol=1e-6)
    assert len(policy.planner.observation_range.low) == 6
    assert len(policy.planner.observation_scale.low) == 8


def test_older_runs_resume_and_load():
    """The digest of a recipe without rotations is that of one that was written before there were any."""
    plain = recipe_for(turning(), codec=Actions(), observed_rotations=())
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "digest_of", lambda plain: str(told.append(plain["policy"])))
        for recipe in (plain, recipe_for(turning())):
            checkpoint.recipe_digest(recipe)
    assert ["rotations" in policy["codec"] for policy in told] == [False, True]
    assert ["observed_rotations" in policy for policy in told] == [False, True]


class Alternating:
    """Plans that say 3.1 and −3.1 about z in turn: 0.083 rad apart."""

    def __init__(self):
        self.count = 0

    def plan(self, window, *, rng, prefix=None):
        self.count += 1
        angle = 3.1 if self.count % 2 else -3.1
        actions = torch.tensor([[[0.0, 0.0, 0.0, angle]] * 4], dtype=torch.float64)
        return PrimitiveControllers.open_loop(actions, torch.zeros(1, 4, 1, dtype=torch.float64))


def test_temporal_ensembles_average_rotations_in_their_group():
    acted = {}
    for rotations in (TURNED, ()):
        executor = ChunkExecutor(Alternating(), n_action_steps=1)
        ensemble = TemporalEnsemble(executor, Ensemble(decay=0.0), rotations)
        for _ in range(2):
            state = torch.zeros(1, 1, dtype=torch.float64)
            acted[rotations] = ensemble.act(Observation(state=state), state)
    assert float(acted[TURNED][0, 1:].norm()) == pytest.approx(math.pi)
    # without the group, the mean of both is no rotation at all: the opposite of what either plan says
    assert float(acted[()].abs().max()) == 0


def test_seams_do_not_see_a_half_turn():
    """Rotation vectors that cross π between two plans, as smoothly as elsewhere."""
    episodes = turning(episodes=12)
    trajectory = Trajectory(
        actions=episodes.actions.unflatten(0, (12, 20))[..., 1:],
        states=torch.zeros(12, 21, 1, dtype=torch.float64),
    )
    crossing = int(trajectory.actions[0, :, 2].diff().abs().argmax()) + 1
    found = seams(trajectory, n_action_steps=crossing, rotations=[Rotation(0, "axis-angle")])
    assert found.jump.ratio.mean == pytest.approx(1, rel=1e-6)
    # of the two seams of each episode, one is the crossing
    assert seams(trajectory, n_action_steps=crossing).jump.ratio.mean > 10


def test_coordinates_that_are_no_rotation_are_refused():
    episodes = turning()
    with pytest.raises(DataError, match="coordinates 0 to 3 of the observation are no quaternion in 1"):
        prepare(recipe_for(episodes, observed_rotations=(Rotation(0, "quaternion"),)), episodes)
    with pytest.raises(RecipeError, match="axis-angle of coordinates 2 to 4 reaches beyond the 4 coordinates"):
        recipe_for(episodes, codec=Actions((Rotation(2, "axis-angle"),)))


def test_options_name_rotations():
    names = ("x", "q_0", "q_1", "q_2", "q_3", "r_0")
    found = rotations_named(["axis-angle@5", "quaternion@q"], names, what="observation")
    assert found == (Rotation(1, "quaternion"), Rotation(5, "axis-angle"))
    assert rotations_named(["none"], names, what="observation") == ()
    assert rotations_named(["quaternion-wxyz@q_0"], names, what="observation") == (Rotation(1, "quaternion-wxyz"),)
    with pytest.raises(UnknownNameError, match="coordinate of the observation"):
        rotations_named(["6d@gripper"], names, what="observation")
    for text in ("quaternion", "euler@3", "quaternion@", "none"):
        with pytest.raises(RecipeError, match="FORM@COORDINATE"):
            rotations_named([text, "6d@0"], names, what="observation")


@needs_square
def test_square_is_trained_on_absolute_goals_with_six_numbers(tmp_path):
    """20 updates, by the command line: what is stored, and that the loaded policy acts near the hand it sees."""
    run = tmp_path / "run"
    seen = "quaternion@robot0_eef_quat"
    options = ["--absolute-actions", "--observation-rotations", seen, "--episodes", "0-9", "--steps", "20"]
    assert main(["train", str(SQUARE), "--out", str(run), *options, "--threads", "1"]) == 0
    stored = json.loads((run / "recipe.json").read_text())
    assert stored["preparation"]["absolute_actions"] is True
    assert stored["environment"] == "robosuite:NutAssemblySquare:absolute"
    assert stored["policy"]["codec"]["rotations"] == [{"kind": "Rotation", "first": 3, "form": "axis-angle"}]
    assert stored["policy"]["observed_rotations"] == [{"kind": "Rotation", "first": 3, "form": "quaternion"}]
    policy = holdfast.load(run)
    assert policy.interface.action.names[:6] == ("goal_x", "goal_y", "goal_z", "goal_rx", "goal_ry", "goal_rz")
    episodes = read(SQUARE)
    policy.reset(seed=0)
    action = policy.select_action(episodes.observed.at(episodes.starts[:2]))
    low, high = torch.tensor(policy.interface.action.low), torch.tensor(policy.interface.action.high)
    assert bool(((action[:, :3] >= low[:3] - 1e-6) & (action[:, :3] <= high[:3] + 1e-6)).all())
    turned = matrix_from_vector(action[:, 3:6].double())
    assert torch.allclose(turned @ turned.transpose(1, 2), torch.eye(3, dtype=torch.float64).expand(2, 3, 3))
