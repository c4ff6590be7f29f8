"""The client has the policy's own verbs and numbers, and goes on after every failure of the connection."""

import socket
import threading

import numpy as np
import pytest
import torch

from holdfast.data import Actions, Affine
from holdfast.errors import InterfaceWarning, RecipeError, ServerError, ShapeError
from holdfast.policy import Ensemble, Execution, Policy
from holdfast.rotations import Rotation
from holdfast.serve import Client
from holdfast.serve.chunks import Chunk, Running, weights

CASES = {
    "gains, two observations": (Affine(), {"n_obs_steps": 2}, Execution(n_action_steps=3, sigma_deploy=0.1)),
    "limits": (
        Actions(),
        {"n_obs_steps": 1},
        Execution(n_action_steps=4, action_low=(-0.2,) * 2, action_high=(0.1,) * 2),
    ),
    "ensemble": (
        Affine(),
        {"n_obs_steps": 3},
        Execution(n_action_steps=8, ensemble=Ensemble(decay=0.3), action_low=(-0.3,) * 2, action_high=(0.3,) * 2),
    ),
    "ensemble of actions": (
        Actions(),
        {"n_obs_steps": 1},
        Execution(
            n_action_steps=1, ensemble=Ensemble(newest_first=True), action_low=(-0.2,) * 2, action_high=(0.2,) * 2
        ),
    ),
    "ensemble of rotations": (
        Actions(rotations=(Rotation(1, "axis-angle"),)),
        {"n_obs_steps": 1},
        Execution(n_action_steps=1, ensemble=Ensemble(decay=0.3)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_actions_are_those_of_the_policy(serving, make_planner, gaussian, case):
    codec, more, execution = CASES[case]
    planner = make_planner(codec, sizes=(3, 4 if "rotations" in case else 2, 3), execution=execution, **more)
    policy, states = Policy(planner, seed=4), gaussian(0, 13, 3)
    # without feedback and averages nothing is added to references, and they are sent within the limits
    bounded = policy.executor.limit if case == "limits" else lambda actions: actions
    with Client(serving(policy, seed=4).url) as client:
        for _ in range(2):
            for step, state in enumerate(states):
                seen = {"observation.state": state.numpy()}
                if step in (0, 7):
                    expected = policy.predict_controllers({"observation.state": state})
                    found = client.predict_controllers(seen)
                    np.testing.assert_allclose(found.actions, bounded(expected.actions), atol=1e-5)
                    chunk = policy.predict_action_chunk({"observation.state": state})
                    np.testing.assert_allclose(client.predict_action_chunk(seen), chunk, atol=1e-5)
                action = client.select_action(seen)
                np.testing.assert_allclose(action, policy.select_action({"observation.state": state}), atol=1e-5)
            client.reset(9)
            policy.reset(9)


def test_averages_of_rotations_are_in_the_group():
    """Turns of 3 and of -3 rad about one axis are 2π - 6 apart: their mean is π and not 0."""
    running = Running(every=1, ensemble={"decay": 0.0, "newest_first": False}, rotations=[(1, "axis-angle")])
    for turn, number in ((3.0, 1.0), (-3.0, 2.0)):
        running.take(Chunk(actions=np.array([[number, 0.0, 0.0, turn]] * 2)))
    np.testing.assert_allclose(np.abs(running.act(np.zeros(1))), [1.5, 0.0, 0.0, np.pi], atol=1e-6)


def test_names_states_and_odd_first_observations(serving, gains_policy):
    policy, seen = gains_policy, {"goal": 0.1, "x": 0.2, "y": -0.3, "z": 0.4}
    alone = Policy(policy.planner, seed=0)
    with Client(serving(policy).url) as client:
        np.testing.assert_allclose(client.select_action(seen), alone.select_action(seen), atol=1e-5)
        state = np.array([0.3, 0.3, 0.3])
        np.testing.assert_allclose(client.select_action(seen, state), alone.select_action(seen, state), atol=1e-5)
        tensor = torch.tensor([0.2, -0.3, 0.4, 0.1])
        np.testing.assert_allclose(client.select_action(tensor, state), alone.select_action(tensor, state), atol=1e-5)
        with pytest.raises(ShapeError, match="named quantities of one episode, got 2 values of some"):
            client.select_action({**seen, "x": [0.2, 0.3]})
        client.reset()
        with pytest.warns(InterfaceWarning, match="x is 5"):
            client.select_action({**seen, "x": 5.0})


def test_refusals_and_batches(serving, actions_policy):
    with Client(serving(actions_policy).url) as client:
        with pytest.raises(ServerError, match="3 numbers"):
            client.select_action({"observation.state": [1.0]})
        with pytest.raises(ShapeError, match="Client for each episode"):
            client.select_action({"observation.state": np.zeros((2, 3))})
        assert client.select_action(np.zeros(3)).shape == (2,)


@pytest.mark.parametrize(
    ("seen", "state", "message"),
    [
        ({"observation.state": np.zeros(7)}, None, r"expected observation.state \[3\], as in training, got .* \[7\]"),
        (
            {"observation.state": np.zeros(3), "foo": 1.0},
            None,
            "the policy was not trained on foo. Send observation.state",
        ),
        ({"observation.state": np.zeros(3)}, np.zeros(2), r"expected a feedback state of shape \[3\], got \[2\]"),
    ],
)
def test_observations_between_plans_are_checked_too(serving, make_planner, seen, state, message):
    """A mistake is said when it is made, not at the next plan, in the middle of a motion."""
    planner = make_planner(Affine(), sizes=(3, 2, 3), execution=Execution(n_action_steps=4))
    with Client(serving(Policy(planner)).url) as client:
        client.select_action(np.zeros(3))
        with pytest.raises(ServerError, match=message):
            client.select_action(seen, state)
        assert client.select_action(np.zeros(3)).shape == (2,)


def test_a_message_that_is_too_large_is_refused_at_once(serving, actions_policy):
    """The server would end the connection, and every new one."""
    with Client(serving(actions_policy).url, patience=60.0) as client:
        with pytest.raises(ServerError, match=r"the message has 8,000,\d+ bytes, and the server takes at most"):
            client.predict_action_chunk({"observation.state": np.zeros(10**6)})
        assert client.select_action(np.zeros(3)).shape == (2,)


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "http://127.0.0.1:8000",
        "",
        "ws://",
        "ws://127.0.0.1:99999",
        "ws://127.0.0.1:0",
        "ws://a:b",
        "ws://[::1:1",
        "ws://me:secret@127.0.0.1:8000",
    ],
)
def test_an_address_of_another_form_is_refused_at_once(url):
    with pytest.raises(ServerError, match=r"expected the address of a server such as ws://") as refused:
        Client(url, patience=60.0)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("token", ["", "  ", "0123456789\nabcdef", "\u00e4" * 20])
def test_what_is_no_token_is_refused_at_once(token):
    with pytest.raises(RecipeError, match="expected the token as text, one line of visible ASCII characters"):
        Client("ws://127.0.0.1:1", token=token, patience=60.0)


@pytest.mark.parametrize(
    ("scheme", "path", "message"),
    [
        ("wss", "", "no encrypted connection .*; holdfast serve itself speaks ws://, not wss://"),
        ("ws", "/metrics", "this is no websocket of a policy server. Give ws://HOST:PORT alone"),
        ("ws", "/nothing", "there is no policy server at this path. Give ws://HOST:PORT alone"),
    ],
)
def test_what_is_no_policy_server_is_not_asked_again(serving, actions_policy, scheme, path, message):
    port = serving(actions_policy).server.port
    with pytest.raises(ServerError, match=message):
        Client(f"{scheme}://127.0.0.1:{port}{path}", patience=60.0)


def test_a_measurement_is_copied(serving, make_planner):
    planner = make_planner(Actions(), sizes=(3, 2, 3), n_obs_steps=2, execution=Execution(n_action_steps=1))
    alone, buffer = Policy(planner, seed=0), np.zeros(3)
    with Client(serving(Policy(planner)).url) as client:
        for value in (0.1, 0.7):
            buffer[:] = value
            expected = alone.select_action(torch.full((3,), value))
            np.testing.assert_allclose(client.select_action(buffer), expected, atol=1e-5)


def test_a_restart_in_the_middle_of_an_episode(serving, actions_policy):
    """The connection is cut without a word, the server is gone for a while, and the client goes on."""
    first = serving(actions_policy)
    client, port = Client(first.url, timeout=5.0, patience=30.0), first.server.port
    actions = [client.select_action(np.zeros(3)) for _ in range(3)]
    first.stop()
    later = threading.Timer(0.4, lambda: serving(actions_policy, port=port))
    later.start()
    actions += [client.select_action(np.zeros(3)) for _ in range(6)]
    later.join()
    assert all(np.isfinite(action).all() and action.shape == (2,) for action in actions)
    client.close()


def test_another_policy_after_a_restart_is_refused(serving, actions_policy, gains_policy):
    first = serving(actions_policy)
    client = Client(first.url, patience=20.0)
    client.select_action(np.zeros(3))
    first.stop()
    serving(gains_policy, port=first.server.port)
    client.reset()
    for _ in range(2):
        with pytest.raises(ServerError, match="another policy"):
            client.select_action(np.zeros(3))
    client.close()
    with pytest.raises(ServerError, match="client was closed"):
        client.predict_action_chunk(np.zeros(3))


def test_a_server_that_does_not_reply(monkeypatch):
    """It accepts connections and says nothing; the client says how long it has waited."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"ws://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(ServerError, match=r"could not be reached within 0.5 s \(no reply within"):
            Client(url, timeout=0.2, patience=0.5)
    with pytest.raises(ServerError, match="holdfast serve RUN"):
        Client(url, timeout=0.2, patience=0.3)


def test_a_wrong_token_is_not_tried_again(serving, actions_policy):
    running = serving(actions_policy, token="0123456789abcdef")
    with pytest.raises(ServerError, match=r"401: it expects its token, the content of its --token-file"):
        Client(running.url, token="no", patience=60.0)
    # as it is read from a file
    with Client(running.url, token="0123456789abcdef\n") as client:
        assert client.select_action(np.zeros(3)).shape == (2,)


def test_a_reply_that_comes_too_late_is_asked_for_again(serving, actions_policy, monkeypatch):
    from holdfast.serve import worker

    plan_all, slow = worker.plan_all, [0.8, 0.0]

    def delayed(jobs):
        threading.Event().wait(slow.pop(0) if slow else 0.0)
        return plan_all(jobs)

    monkeypatch.setattr(worker, "plan_all", delayed)
    with Client(serving(actions_policy).url, timeout=0.3, patience=20.0) as client:
        assert client.select_action(np.zeros(3)).shape == (2,)


def test_a_busy_server_is_asked_again(serving, actions_policy, monkeypatch):
    from holdfast.serve.worker import BusyError, Worker

    plan, refusals = Worker.plan, [1, 1]

    async def busy(self, job):
        if refusals:
            refusals.pop()
            raise BusyError("the server is busy: try later.")
        return await plan(self, job)

    monkeypatch.setattr(Worker, "plan", busy)
    with Client(serving(actions_policy).url) as client:
        assert client.select_action(np.zeros(3)).shape == (2,)
    assert not refusals


@pytest.mark.parametrize("newest_first", [False, True])
def test_weights_are_those_of_the_policy(newest_first):
    ours = weights(5, decay=0.2, newest_first=newest_first)
    np.testing.assert_allclose(ours, Ensemble(decay=0.2, newest_first=newest_first).weights(5), rtol=1e-12)
