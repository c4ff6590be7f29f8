"""What the tests of the quadrotor's studies share: a small world that costs nothing, and jobs without processes."""

import shutil

import pytest
import torch

from holdfast.control import Quadrotor2D, Tvlqr
from holdfast.data import write
from holdfast.envs import SystemEnvironment, rollout
from holdfast.seeding import stream
from holdfast.studies.quadrotor.world import HoverRegulator
from holdfast.types import Episodes


@pytest.fixture(scope="session")
def made_world(tmp_path_factory):
    """4 demonstrations and 3 starts; one regulator stands in for the expert, whose planning takes long."""
    folder, task = tmp_path_factory.mktemp("quadrotor") / "world", Quadrotor2D()
    for name, count in (("pool", 4), ("held_out", 3)):
        starts = 0.5 * task.initial_states(count, rng=stream(0, "test world", name))
        regulator = HoverRegulator(task, Tvlqr(action_weight=(0.5, 0.1))).policy()
        flights = rollout(regulator, SystemEnvironment(task, steps=task.steps), starts=starts).trajectory
        assert torch.isfinite(flights.states).all()
        write(Episodes.of(flights, dt=task.dt, system=task.name), folder / name)
    return folder


@pytest.fixture
def small_world(made_world, tmp_path):
    """A study's folder with a world of its own."""
    shutil.copytree(made_world, tmp_path / "world")
    return tmp_path


@pytest.fixture
def stage():
    """Announces stages to nobody; `stage.done` holds the numbers of finished steps of each stage."""

    def begin(name, total):
        begin.done.setdefault(name, []).clear()
        return begin.done[name].append

    begin.done = {}
    return begin


@pytest.fixture
def in_process(monkeypatch):
    """Studies without processes: missing jobs are worked one after another."""

    def run_groups(groups, jobs, work, path_of, workers, on_done):
        done = len(jobs) - sum(map(len, groups))
        on_done(done)
        for group in groups:
            for job, result in work(group):
                path_of(job).parent.mkdir(parents=True, exist_ok=True)
                path_of(job).write_bytes(result)
                done += 1
                on_done(done)

    monkeypatch.setattr("holdfast.studies.engine.pool._run_groups", run_groups)
