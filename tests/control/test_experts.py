"""Experts: networks that act as recorded, and demonstrations that hold what gains need."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from holdfast.control import (
    Expert,
    MlpExpert,
    NoFeedback,
    expert_demonstrations,
    mujoco_system,
    regulator,
    synthesize_episodes,
)
from holdfast.errors import DataError, RecipeError
from holdfast.seeding import stream

pytest.importorskip("mujoco")

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HOLDFAST_DATA", ROOT.parent / "shared" / "data")) / "mujoco_experts"
needs_experts = pytest.mark.skipif(not DATA.exists(), reason=f"the recorded experts are not at {DATA}")


def network(path, **changes):
    """A file with a small network: two inputs, three hidden units, one action."""
    rng = np.random.default_rng(0)
    shapes = {"W0": (2, 3), "b0": (3,), "W1": (3, 1), "b1": (1,)}
    arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    arrays |= {"obs_mean": np.array([1.0, -1.0]), "obs_meansq": np.array([5.0, 2.0]), "nonlinearity": np.array("tanh")}
    arrays = {name: value for name, value in (arrays | changes).items() if value is not None}
    np.savez(path, **arrays)
    return arrays


def test_a_network_by_hand(tmp_path):
    arrays = network(tmp_path / "expert.npz")
    expert = MlpExpert.load(tmp_path / "expert.npz")
    seen = np.array([3.0, 1.0])
    hidden = np.tanh((seen - [1, -1]) / [2 + 1e-6, 1 + 1e-6] @ arrays["W0"] + arrays["b0"])
    assert_close(expert(torch.tensor(seen)).numpy(), hidden @ arrays["W1"] + arrays["b1"])
    assert expert(torch.zeros(4, 5, 2)).shape == (4, 5, 1)
    assert expert(torch.zeros(2)).dtype == torch.float32
    assert isinstance(expert, Expert)


def test_files_that_are_no_network_are_refused(tmp_path):
    path = tmp_path / "expert.npz"
    with pytest.raises(DataError, match="does not exist"):
        MlpExpert.load(path)
    path.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(DataError, match=r"not an \.npz file"):
        MlpExpert.load(path)
    for changes, message in [
        ({"obs_meansq": None}, "missing: obs_meansq"),
        ({"nonlinearity": np.array("relu")}, "expected tanh layers, got relu"),
        ({"b1": None}, r"expected W1 to be \[3, ·\] and b1 to fit"),
        ({"W1": np.zeros((4, 1))}, r"expected W1 to be \[3, ·\]"),
        ({"W0": np.array([{}], dtype=object)}, r"not an \.npz file of plain arrays"),
    ]:
        network(path, **changes)
        with pytest.raises(DataError, match=message):
            MlpExpert.load(path)


def _recorded(name):
    with zipfile.ZipFile(DATA / f"{name}_v4_demos.npz") as archive:
        read = np.lib.format.read_array
        return {key: read(archive.open(f"{key}.npy")) for key in ("observation", "action", "reward", "episode_ends")}


@needs_experts
@pytest.mark.parametrize("name", ["Hopper", "HalfCheetah"])
def test_networks_act_as_recorded(name):
    recorded, expert = _recorded(name), MlpExpert.load(DATA / f"{name}_policy.npz")
    acts = expert(torch.tensor(recorded["observation"]))
    assert_close(acts.float(), torch.tensor(recorded["action"]), rtol=0, atol=1e-5)


@needs_experts
@pytest.mark.parametrize("name", ["Hopper", "HalfCheetah"])
def test_demonstrations_earn_what_was_recorded(name):
    system, steps = mujoco_system(f"{name}-v4"), 250
    expert = MlpExpert.load(DATA / f"{name}_policy.npz")
    episodes = expert_demonstrations(system, expert, 2, rng=stream(0, "tests", "experts"), steps=steps)
    assert episodes.lengths.tolist() == [steps, steps]
    earned = episodes.rewards.reshape(2, steps).sum(1)
    recorded = torch.tensor(_recorded(name)["reward"][:steps].sum())
    assert_close(earned, recorded.expand(2), rtol=0.08, atol=0)
    # what was written down is what happened, and replays to the last bit
    flight = episodes.trajectory(1)
    assert torch.equal(system.simulate(flight.states[:1], flight.actions[None])[0], flight.states)
    assert torch.equal(episodes.observed.state, system.observation(episodes.states))
    assert bool(((flight.actions >= -1) & (flight.actions <= 1)).all())
    assert (episodes.system, episodes.names["state"]) == (f"mujoco:{name}-v4", system.state_names)


def test_a_pendulum_that_falls_ends_its_episode_and_one_that_is_held_does_not():
    system = mujoco_system("InvertedDoublePendulum-v4")
    upright = torch.zeros(6, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    held = expert_demonstrations(system, regulator(system, *upright), 3, rng=stream(0, "held"), steps=60)
    assert held.lengths.tolist() == [60, 60, 60]
    assert float(held.final_states[:, 1:].abs().max()) < 0.1

    class Idle:
        def act(self, observation, state):
            return state.new_zeros(len(state), 1)

    idle = expert_demonstrations(system, Idle(), 3, rng=stream(0, "idle"), steps=60)
    assert int(idle.lengths.max()) < 60
    assert len(set(idle.lengths.tolist())) > 1
    # the last step leads out of the task's limits, and is the only one that does
    last = idle.starts + idle.lengths - 1
    over = system.rewards(idle.states, idle.actions)[1]
    assert over.nonzero().flatten().tolist() == last.tolist()
    assert torch.equal(system.step(idle.states[last], idle.actions[last]), idle.final_states)
    with pytest.raises(RecipeError, match="at least 1 step, got 2 of 0"):
        expert_demonstrations(system, Idle(), 2, rng=stream(0, "idle"), steps=0)
    assert synthesize_episodes(NoFeedback(), system, idle).gains.shape == (int(idle.lengths.sum()), 1, 6)
