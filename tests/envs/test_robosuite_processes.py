"""Worker processes with simulators in place of robosuite's: order, errors, interruptions, and their end."""

import time

import numpy as np
import pytest

from holdfast.data.robosuite_task import RobosuiteTask
from holdfast.envs.robosuite import processes
from holdfast.envs.robosuite.processes import Workers
from holdfast.errors import ShapeError, WorkerError

PROGRAM = (
    "import sys; sys.path[:] = {path!r}; from holdfast.envs.robosuite import processes; "
    "from tests.envs.test_robosuite_processes import Echo; processes.Here = Echo; processes.serve({end})"
)
SLOW = 0.3
"""Seconds of a step of the simulators below."""


class Echo:
    """Simulators that show what they are given."""

    def __init__(self, task, count, cameras):
        self.width, self.widths = count, {"robot": 1}

    def reset(self, seeds):
        return {"robot": 10 * np.asarray(seeds), "pictures": {"top": np.asarray(seeds)[:, None]}}

    def place(self, states):
        if float(states[0, 0]) < 0:
            raise ShapeError("expected states from 0 on.")
        if not np.isfinite(states).all():
            raise ValueError("no number")
        return {"robot": states[:, 0]}

    def step(self, actions, moves):
        time.sleep(SLOW)
        return {"robot": actions[:, 0]}

    def close(self):
        pass


@pytest.fixture
def workers(monkeypatch):
    monkeypatch.setattr(processes, "PROGRAM", PROGRAM)
    made = Workers(RobosuiteTask(task="Lift"), 3, {}, processes=2)
    yield made
    made.close()


def test_answers_are_in_the_order_of_the_episodes(workers):
    shown = workers.reset([3, 1, 2])
    assert shown["robot"].tolist() == [30, 10, 20]
    assert shown["pictures"]["top"].tolist() == [[3], [1], [2]]
    # two simulators in the first process, one in the second
    assert workers.width == 2


def test_errors_come_back_and_leave_nothing_for_the_next_command(workers):
    with pytest.raises(ShapeError, match="expected states from 0 on"):
        workers.place(np.array([[-1.0], [0.0], [7.0]]))
    with pytest.raises(WorkerError, match="a simulator failed: ValueError: no number"):
        workers.place(np.array([[1.0], [0.0], [np.nan]]))
    assert workers.place(np.array([[1.0], [2.0], [3.0]]))["robot"].tolist() == [1, 2, 3]


def test_after_an_interruption_no_old_answer_is_taken_for_a_new_one(workers, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(workers._workers[1], "answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            workers.step(np.zeros((3, 1)), np.ones(3, dtype=bool))
    assert [worker._process.returncode for worker in workers._workers] == [0, 0]
    with pytest.raises(WorkerError, match="an earlier command was interrupted"):
        workers.reset([1, 2, 3])


def test_a_worker_whose_parent_leaves_while_it_computes_ends_quietly(workers, capfd):
    workers._tell([("step", np.zeros((count, 1)), np.ones(count, dtype=bool)) for count in (2, 1)])
    workers.close()
    assert [worker._process.returncode for worker in workers._workers] == [0, 0]
    assert capfd.readouterr().err == ""
