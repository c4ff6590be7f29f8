"""Estimators of coordinates from pictures: trained, measured on held-out episodes, flown, and matched by noise."""

import json
from dataclasses import replace

import pytest
import torch

import holdfast as hf
from holdfast.cli import main
from holdfast.data import Frames, Selection, estimating
from holdfast.envs import Estimated, rollout
from holdfast.errors import InterfaceError, RecipeError, RunError, ShapeError, UnknownNameError
from holdfast.learn import (
    EstimatorErrors,
    estimator_errors,
    load_estimator,
    with_estimator_noise,
)
from holdfast.policy import Estimator
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation

from .squares import Squares, painted


def episodes_of(count=20, steps=10, scale=1.0):
    """Actions that point at a square, which only the picture and the environment state show."""
    rng = stream(0, "targets")
    targets = (2 * torch.rand(count * steps, 2, generator=rng) - 1).double()
    states = torch.rand(count * steps, 2, generator=rng).double()
    return Episodes(
        actions=targets,
        states=states,
        lengths=torch.full((count,), steps),
        observations=Observation(state=states, environment_state=scale * targets),
        cameras={"top": Frames(painted(targets))},
        names={
            "action": ("to_x", "to_y"),
            "state": ("a", "b"),
            "observation.state": ("a", "b"),
            "observation.environment_state": ("square_x", "square_y"),
        },
        dt=0.1,
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "demos"
    hf.write(episodes_of(scale=10.0), folder)
    return folder


@pytest.fixture(scope="module")
def eyes(stored, tmp_path_factory):
    """An estimator of 500 updates."""
    folder = tmp_path_factory.mktemp("runs") / "eyes"
    small = {"policy": {"model": {"network": {"width": 32, "blocks": 1}}}}
    (folder.parent / "small.json").write_text(json.dumps(small))
    options = ["--images", "top", "--estimate", "square_*", "--recipe", str(folder.parent / "small.json")]
    options += ["--steps", "500", "--batch-size", "32", "--learning-rate", "0.003", "--threads", "1"]
    assert main(["train", str(stored), "--out", str(folder), *options]) == 0
    return folder


@pytest.fixture(scope="module")
def policy(stored, eyes, tmp_path_factory):
    """A policy of states with noise of the law of the estimator's errors."""
    folder = tmp_path_factory.mktemp("runs") / "policy"
    options = ["--sigma-from-estimator", str(eyes), "--steps", "200", "--batch-size", "32", "--family", "regression"]
    options += ["--network", "film-mlp", "--horizon", "2", "--n-action-steps", "1", "--threads", "1"]
    assert main(["train", str(stored), "--out", str(folder), *options]) == 0
    return folder


def test_coordinates_take_the_place_of_the_actions():
    episodes = episodes_of()
    found = estimating(episodes, ["observation.environment_state"])
    assert found.names["action"] == ("square_x", "square_y")
    assert torch.equal(found.actions, episodes.observations.environment_state)
    assert found.system is None
    both = estimating(episodes, ["square_y", "a", "square_*"])
    assert both.names["action"] == ("square_y", "a", "square_x")
    unnamed = replace(episodes, names={})
    assert estimating(unnamed, ["observation.state.1"]).names["action"] == ("observation.state.1",)
    with pytest.raises(UnknownNameError, match="square_x"):
        estimating(episodes, ["square_z"])


def test_an_estimator_finds_what_the_pictures_show(stored, eyes):
    estimator = load_estimator(eyes)
    assert (estimator.names, estimator.cameras) == (("square_x", "square_y"), ("top",))
    episodes = hf.read(stored)
    pictures = episodes.cameras["top"].read(torch.arange(5))
    seen = Observation(state=episodes.states[:5], images={"top": pictures})
    found = estimator.observed(seen)
    assert found.environment_state.shape == (5, 2)
    assert found.state is seen.state
    # half of the range is 10
    errors = estimator_errors(eyes)
    assert (errors.episodes, errors.errors.shape) == (2, (20, 2))
    assert float(errors.rms.max()) < 1.5
    recipe = hf.load_recipe(eyes)
    assert (recipe.held_out, recipe.policy.horizon, recipe.environment) == (0.1, 1, None)
    assert recipe.selection == Selection(estimate=("square_*",))


def test_noise_has_the_moments_of_the_errors():
    """By hand: halves of the ranges 2 and 4; E[e eᵀ] = [[4, 2], [2, 4]] of the coordinates 2 and 3 of four."""
    states = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    seen = torch.tensor([[-2.0, -4.0], [2.0, 4.0]], dtype=torch.float64)
    episodes = Episodes(
        actions=states,
        states=states,
        lengths=torch.tensor([2]),
        observations=Observation(state=states, environment_state=seen),
        names={"observation.state": ("a", "b"), "observation.environment_state": ("x", "y")},
    )
    errors = torch.tensor([[2.0, 0.0], [2.0, 2.0], [0.0, 2.0], [2.0, 2.0]], dtype=torch.float64) * (4 / 3) ** 0.5
    found = EstimatorErrors(("y", "x"), errors, episodes=1)
    torch.testing.assert_close(found.moments, torch.tensor([[4.0, 8 / 3], [8 / 3, 4.0]], dtype=torch.float64))
    recipe = with_estimator_noise(hf.default_recipe(episodes), episodes, found)
    law, sigma = recipe.training.noise_law, recipe.training.sigma_train
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[2, 2], expected[3, 3] = 4.0 / 4, 4.0 / 16
    expected[2, 3] = expected[3, 2] = (8 / 3) / 8
    torch.testing.assert_close(sigma**2 * law.matrix, expected)
    assert float(law.matrix.trace()) == pytest.approx(4.0)
    assert recipe.policy.execution.sigma_deploy == 0.0
    with pytest.raises(RecipeError, match="a, b, x, y"):
        with_estimator_noise(recipe, episodes, EstimatorErrors(("z",), errors[:, :1], episodes=1))
    with pytest.raises(RecipeError, match="no errors"):
        with_estimator_noise(recipe, episodes, EstimatorErrors(("x", "y"), 0 * errors, episodes=1))


class Named(Squares):
    """The environment with names of its coordinates."""

    names = {"action": ("to_x", "to_y"), "observation.state": ("a", "b"), "state": ("a", "b")}  # noqa: RUF012


def test_a_policy_of_states_acts_on_pictures(eyes, policy):
    estimator, acting = load_estimator(eyes), hf.load(policy)
    with pytest.raises(ShapeError, match="trained on 4"):
        rollout(acting, Named(), starts=[0, 1])
    environment = Estimated(Named("front"), estimator)
    assert environment.names["observation.environment_state"] == ("square_x", "square_y")
    found = rollout(acting, environment, starts=list(range(8)))
    errors = found.trajectory.actions[:, 0] - environment.inner.targets
    assert float(errors.square().mean().sqrt()) < 0.3
    with pytest.raises(InterfaceError, match="does not show top"):
        rollout(acting, Estimated(Named(None), estimator), starts=[0])


def test_estimated_names_replace_the_environments_own(eyes):
    own = Named()
    own.names = {**Squares.names, "observation.state": ("a", "square_x")}
    environment = Estimated(own, load_estimator(eyes))
    assert environment.names["observation.state"] == ("a",)
    assert environment.reset([0]).observation.vector.shape == (1, 3)


def test_stored_noise_is_that_of_the_errors(eyes, policy):
    recipe, errors = hf.load_recipe(policy), estimator_errors(eyes)
    half = hf.load(policy).planner.observation_scale.half[2:]
    expected = errors.moments / (half[:, None] * half)
    found = recipe.training.sigma_train**2 * recipe.training.noise_law.matrix
    torch.testing.assert_close(found[2:, 2:], expected)
    assert float(found[:2].abs().max()) == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--estimate", "square_x"], "Add --images"),
        (["--images", "top", "--estimate", "nothing"], "square_x"),
        (["--sigma-from-estimator", "POLICY"], "holds a policy, not an estimator"),
        (["--sigma-from-estimator", "EYES", "--sigma-train", "0.1"], "Remove --sigma-train"),
        (["--sigma-from-estimator", "EYES", "--state", "a"], "one of square_x, square_y"),
    ],
)
def test_what_does_not_fit_is_refused(stored, eyes, policy, tmp_path, capsys, options, message):
    options = [{"POLICY": str(policy), "EYES": str(eyes)}.get(option, option) for option in options]
    assert main(["train", str(stored), "--out", str(tmp_path / "run"), "--steps", "2", *options]) != 0
    captured = capsys.readouterr()
    assert message in " ".join((captured.out + captured.err).split())
    assert not (tmp_path / "run").exists()


def test_an_estimator_is_not_flown(eyes, policy, capsys):
    assert main(["evaluate", str(eyes), "--environment", "avoid"]) == 1
    assert "does not act" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(RunError, match="holds a policy"):
        load_estimator(policy)
    with pytest.raises(RecipeError, match="plans 2 steps"):
        Estimator(hf.load(policy))


def test_a_policy_of_states_is_diagnosed_on_pictures(eyes, policy, tmp_path, monkeypatch):
    monkeypatch.setattr("holdfast.cli.diagnose.make_environment", lambda name, count, **options: Named("front"))
    arguments = ["diagnose", str(policy), "--environment", "fork", "--estimator", str(eyes), "--no-sweeps"]
    assert main([*arguments, "--starts", "10", "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "result.json").read_text())
    assert found["estimator"]["estimate"] == ["square_*"]
    assert found["environment"] == "squares"
