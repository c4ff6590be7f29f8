"""Several clients of one server: their batches, those that leave in the middle of one, and the end of the server."""

import asyncio
import threading
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from websockets.exceptions import ConnectionClosed

from holdfast.policy import Policy
from holdfast.serve import Client, worker
from holdfast.serve.wire import pack, unpack
from holdfast.types import Observation

NAMES = ("x", "y", "z", "goal")
WINDOWS = (1, 2, 8, 1, 3)
"""Observations that each client sends at once; the policy has windows of 2."""


class Held:
    """Plans that wait until they are let go."""

    def __init__(self, monkeypatch):
        self.begun, self.go, self.batches, plan_all = threading.Event(), threading.Event(), list[int](), worker.plan_all

        def held(jobs):
            self.batches.append(len(jobs))
            self.begun.set()
            assert self.go.wait(20)
            return plan_all(jobs)

        monkeypatch.setattr(worker, "plan_all", held)


@pytest.fixture
def held(monkeypatch):
    return Held(monkeypatch)


def waits_for(condition, seconds=20):
    ended = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        ended.wait(0.01)
    raise AssertionError("the condition did not come true")


def rows_of(number, count):
    """Observations `[count, 4]` of one client, oldest first."""
    return 0.3 * np.sin(np.arange(4 * count).reshape(count, 4) + number)


def message_of(rows):
    return {name: rows[:, place] if len(rows) > 1 else float(rows[0, place]) for place, name in enumerate(NAMES)}


def alone(planner, seed, rows):
    """Actions `[h, m]` of the policy by itself."""
    executor = Policy(planner, seed=seed).executor
    for row in torch.tensor(rows):
        executor.observe(Observation(state=row[None]))
    return executor.limit(executor.plan().actions[0]).numpy()


@pytest.mark.parametrize("leaves", [False, True])
def test_windows_of_other_lengths_are_planned_in_one_batch(serving, talk, gains_planner, held, leaves):
    """Each gets its own plan, also where another client leaves while the batch is made."""
    running = serving(Policy(gains_planner))
    with ExitStack() as stack:
        first = stack.enter_context(talk(running.url))
        first.socket.send(pack(message_of(rows_of(99, 1))))
        assert held.begun.wait(10)
        asks = [stack.enter_context(talk(running.url)) for _ in WINDOWS]
        for number, (ask, count) in enumerate(zip(asks, WINDOWS, strict=True)):
            ask.socket.send(pack(message_of(rows_of(number, count))))
        waits_for(lambda: len(running.server.worker.waiting) == len(WINDOWS))
        held.begun.clear()
        held.go.set()
        if leaves:
            asks[1].socket.close()
        assert "actions" in unpack(first.socket.recv(timeout=10))
        for number, (ask, count) in enumerate(zip(asks, WINDOWS, strict=True)):
            if leaves and number == 1:
                continue
            found = unpack(ask.socket.recv(timeout=10))["actions"]
            expected = alone(gains_planner, ask.metadata["seed"], rows_of(number, count))
            np.testing.assert_allclose(found, expected, atol=1e-5)
        assert held.batches == [1, len(WINDOWS)]
        waits_for(lambda: running.server.metrics.sessions == 1 + len(WINDOWS) - leaves)
        # the others go on
        assert "actions" in asks[0](message_of(rows_of(0, 1)))


def test_a_client_that_leaves_before_its_batch_is_not_planned_for(serving, talk, gains_planner, held):
    """Its connection is lost without a word, as when its machine is switched off, or closed."""
    running = serving(Policy(gains_planner))
    with talk(running.url) as first, talk(running.url) as other:
        first.socket.send(pack(message_of(rows_of(0, 1))))
        assert held.begun.wait(10)
        with talk(running.url) as gone:
            gone.socket.send(pack(message_of(rows_of(1, 1))))
            other.socket.send(pack(message_of(rows_of(2, 1))))
            waits_for(lambda: len(running.server.worker.waiting) == 2)
            gone.socket.socket.close()
        held.go.set()
        for ask in (first, other):
            assert "actions" in unpack(ask.socket.recv(timeout=10))
        waits_for(lambda: running.server.metrics.sessions == 2)
        assert "actions" in other(message_of(rows_of(3, 1)))


def test_clients_with_the_same_seed_get_the_same_plans(serving, gains_policy):
    running = serving(gains_policy)
    seen = dict(zip(NAMES, (0.1, -0.2, 0.3, 0.4), strict=True))
    with Client(running.url) as one, Client(running.url) as other:
        assert one.metadata["seed"] != other.metadata["seed"]
        before = [client.predict_action_chunk(seen) for client in (one, other)]
        assert np.abs(before[0] - before[1]).max() > 1e-4
        for client in (one, other):
            client.reset(seed=5)
        actions = [[client.select_action(seen) for client in (one, other)] for _ in range(6)]
        for first, second in actions:
            np.testing.assert_allclose(first, second, atol=1e-5)


def test_a_stop_in_the_middle_of_a_batch_answers_all_of_it(serving, talk, gains_planner, held):
    """And those that wait for the next one; then every session ends with 1001."""
    running = serving(Policy(gains_planner))
    with ExitStack() as stack:
        asks = [stack.enter_context(talk(running.url)) for _ in range(5)]
        asks[0].socket.send(pack(message_of(rows_of(0, 1))))
        assert held.begun.wait(10)
        for ask in asks[1:4]:
            ask.socket.send(pack(message_of(rows_of(1, 1))))
        waits_for(lambda: len(running.server.worker.waiting) == 3)
        stopping = asyncio.run_coroutine_threadsafe(running.server.stop(), running.loop)
        with pytest.raises(ConnectionClosed, match="1001"):
            asks[4].socket.recv(timeout=10)
        held.go.set()
        for ask in asks[:4]:
            assert unpack(ask.socket.recv(timeout=10))["actions"].shape == (8, 2)
            with pytest.raises(ConnectionClosed, match="1001"):
                ask.socket.recv(timeout=10)
        stopping.result(10)
    running.loop.call_soon_threadsafe(running.loop.stop)
    running.thread.join(10)
