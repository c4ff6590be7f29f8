"""The wire: openpi's own client, the bytes of its format, replies and refusals."""

import json
import urllib.request
from dataclasses import replace

import numpy as np
import pytest
import torch

from holdfast.errors import DataError
from holdfast.policy import Policy
from holdfast.serve.wire import DTYPES, pack, unpack

openpi_wire = pytest.importorskip("openpi_client.msgpack_numpy")
openpi_client = pytest.importorskip("openpi_client.websocket_client_policy")

SEEN = {"observation/state": np.array([0.1, -0.2, 0.3])}


def test_the_bytes_are_openpis():
    """The vector of its own packer, written down by hand."""
    expected = (
        "81 a1 73 84 c4 0b 5f5f6e6461727261795f5f c3 c4 04 64617461 c4 08 0000000000000000 c4 05 6474797065 a3 3c6634 "
        "c4 05 7368617065 91 02"
    )
    assert pack({"s": np.zeros(2, dtype=np.float32)}) == bytes.fromhex(expected)


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_openpi_reads_what_is_written_and_the_other_way_round(name):
    values = {"a": np.array([[0, 1, 1]]).astype(name), "s": np.array([1]).astype(name)[0], "n": {"b": [1, 2.5, "x"]}}
    for read, written in ((openpi_wire.unpackb, pack), (unpack, openpi_wire.packb)):
        found = read(written(values))
        assert found["a"].dtype.newbyteorder("=") == np.dtype(name).newbyteorder("=")
        np.testing.assert_array_equal(found["a"], values["a"])
        assert found["s"] == 1
        assert found["n"] == {"b": [1, 2.5, "x"]}


def test_an_unmodified_client_gets_the_plans_of_the_policy(serving, actions_policy):
    server = serving(actions_policy, seed=5).server
    alone = Policy(actions_policy.planner, seed=5)
    client = openpi_client.WebsocketClientPolicy("127.0.0.1", server.port)
    assert client.get_server_metadata()["action"]["shape"] == [2]
    for step in range(3):
        seen = {"observation/state": SEEN["observation/state"] + 0.1 * step}
        reply = client.infer(seen)
        alone.executor.observe(torch_observation(seen))
        expected = alone.executor.limit(alone.executor.plan().actions)[0]
        assert reply["actions"].shape == (8, 2)
        np.testing.assert_allclose(reply["actions"], expected, atol=1e-5)
    assert reply["server_timing"]["prev_total_ms"] > 0
    with pytest.raises(RuntimeError, match="trained on"):
        client.infer({**SEEN, "camera": np.zeros((2, 2))})
    assert client.infer(SEEN)["actions"].shape == (8, 2), "the connection goes on after a refusal"


def torch_observation(message):
    from holdfast.types import Observation

    return Observation(state=torch.tensor(message["observation/state"])[None])


def test_controllers_beside_the_actions(serving, talk, gains_policy):
    running = serving(gains_policy)
    with talk(running.url) as ask:
        state = np.array([0.2, -0.1, 0.4])
        reply = ask({"observation": {"state": state, "environment_state": [0.5]}, "state": state})
        laws = reply["controllers"]
        h, m, n = 8, 2, 3
        assert (laws["actions"].shape, laws["states"].shape, laws["gains"].shape) == ((h, m), (h, n), (h, m, n))
        by_hand = laws["actions"][0] + laws["gains"][0] @ (state - laws["states"][0])
        np.testing.assert_allclose(reply["action"], by_hand, rtol=1e-5)


def test_metadata(serving, talk, gains_policy):
    running = serving(gains_policy, seed=3)
    with talk(running.url) as ask, talk(running.url) as second:
        about = ask.metadata
        assert about["observation"]["names"] == ["x", "y", "z", "goal"]
        assert about["observation"]["keys"] == {"observation.state": 3, "observation.environment_state": 1}
        assert (about["horizon"], about["n_obs_steps"], about["controllers"]) == (8, 2, True)
        assert about["dt"] == 0.05
        assert about["n_action_steps"] == 4
        assert [ask.metadata["seed"], second.metadata["seed"]] == [3, 4]


BAD = {
    "no such name": ({"observation.stat": [1.0, 2.0, 3.0]}, "observation.state"),
    "nothing": ({}, "observation.state"),
    "too short": ({"observation.state": [1.0, 2.0]}, "3 numbers"),
    "too many steps": ({"observation.state": np.zeros((9, 3))}, "at most 8 observations"),
    "NaN": ({"observation.state": np.array([0.0, np.nan, 0.0])}, "nan at coordinate 1"),
    "text": ({"observation.state": "abc"}, "real numbers"),
    "extra": ({**SEEN, "x": 1.0}, "not trained on x"),
    "twice": ({**SEEN, "observation.state": [1.0, 2.0, 3.0]}, "twice"),
    "other state": ({**SEEN, "state": [1.0]}, "feedback state"),
    "prompt": ({**SEEN, "prompt": 3}, "prompt as text"),
    "option": ({**SEEN, "holdfast": {"sed": 1}}, "aside, delay"),
    "seed": ({**SEEN, "holdfast": {"seed": -1}}, "seed as an integer"),
    "reset": ({**SEEN, "holdfast": {"reset": 1}}, "true or false"),
    "delay alone": ({**SEEN, "holdfast": {"delay": 1}}, "needs the prefix"),
    "executed": ({**SEEN, "holdfast": {"executed": -1}}, "executed as a number of steps"),
    "executed and prefix": ({**SEEN, "holdfast": {"executed": 1, "prefix": {}}}, "got both"),
    "late": ({**SEEN, "holdfast": {"executed": 1, "delay": 9}}, "delay as a number of steps from 0 to 8"),
    "beyond the plan": ({**SEEN, "holdfast": {"executed": 9}}, "executed as a number of steps from 0 to 8"),
    "far beyond": ({**SEEN, "holdfast": {"executed": 10**9, "delay": 1}}, "ask without `executed`"),
    "too late": ({**SEEN, "holdfast": {"executed": 6, "delay": 3}}, "after 6 of them, expected delay as a number of"),
    "no number": ({**SEEN, "holdfast": {"executed": True}}, "executed as a number of steps"),
    "way alone": ({**SEEN, "holdfast": {"way": "guided"}}, "a way needs `executed`"),
    "other way": ({**SEEN, "holdfast": {"executed": 1, "way": "conditioned"}}, "one of guided, guided-no-jacobian"),
    "prefix": ({**SEEN, "holdfast": {"prefix": {"actions": np.zeros((9, 2))}}}, "1 to 8 steps"),
    "prefix of NaN": ({**SEEN, "holdfast": {"prefix": {"actions": np.full((1, 2), np.nan)}}}, "nan"),
    "weights": ({**SEEN, "holdfast": {"prefix": {"actions": np.zeros((1, 2)), "weights": [2.0]}}}, "from 0 to 1"),
    "prefix as a list": ({**SEEN, "holdfast": {"prefix": [[0.0, 0.0]]}}, "gains and weights only, got list"),
    "unknown part": ({**SEEN, "holdfast": {"prefix": {"action": [[0.0]], "x": 1}}}, "only, got the keys action, x"),
    "single number": ({"observation.state": 1.0}, "[k, n], the k observations since the last request"),
    "no observation": ({"observation.state": np.zeros((0, 3))}, "oldest first, got an array of shape [0, 3]"),
    "truncated": (pack(SEEN)[:-4], "msgpack"),
    "no map": (b"\x93\x01\x02\x03", "map of names"),
    "array as a whole": (openpi_wire.packb(np.zeros(3)), "map of names"),
    "many items": (b"\x81\xa1a\xdd\x7f\xff\xff\xff", "msgpack"),
    "long text": (b"\x81\xa1a\xdb\x7f\xff\xff\xff", "msgpack"),
    "large map": (b"\xdf\x7f\xff\xff\xff", "msgpack"),
    "extension": (b"\x81\xa1a\xd6\xff\x00\x00\x00\x00", "msgpack"),
    "deep": (b"\x81\xa1a" * 60 + b"\x01", "levels"),
    "very deep": (b"\x91" * 5000 + b"\x01", "msgpack"),
    "objects": (b"\x81\xa1s\x82\xc4\x0b__ndarray__\xc3\xc4\x05dtype\xa2|O", "dtype"),
    "no keys": (b"\x81\x01\x02", "msgpack"),
    "bytes": (b"\x81\xa1a\xc4\x01a", "got bytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_messages_are_refused_in_words(shared, talk, actions_policy, name):
    message, words = BAD[name]
    with talk(shared.url) as ask:
        reply = ask(message)
        assert isinstance(reply, str)
        assert words in reply
        assert "Traceback" not in reply
        assert reply[-1] == "."
        assert len(reply) < 1000
        # nothing of it has reached the session
        np.testing.assert_array_equal(ask(SEEN)["actions"], first_plan(actions_policy, ask.metadata["seed"]))


def test_coordinates_in_two_forms_are_refused_in_words(serving, talk, gains_policy):
    with talk(serving(gains_policy).url) as ask:
        both = {"observation.state": [0.0, 0.0, 0.0], "observation.environment_state": [0.0], "y": 1.0}
        assert ask(both).startswith("the observation holds y by name beside 'observation.state', which has all")
        assert "not trained on foo" in ask({**both, "foo": 1.0})


def first_plan(policy, seed):
    alone = Policy(policy.planner, seed=seed)
    alone.executor.observe(torch_observation(SEEN))
    return alone.executor.limit(alone.executor.plan().actions)[0].numpy()


SHAPES = [[4], [2, 2, 2, 2], [-1, 2], [True, 2], ["2", 1], 3, None, [2**40, 0], [2.0]]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_fit_their_bytes(shape):
    import msgpack

    array = {b"__ndarray__": True, b"data": bytes(16), b"dtype": "<f8", b"shape": shape}
    with pytest.raises(DataError, match=r"shape|bytes"):
        unpack(msgpack.packb({"a": array}))


def test_texts_too_many_bytes_and_a_missing_policy(serving, talk, actions_policy):
    running = serving(actions_policy)
    with talk(running.url) as ask:
        ask.socket.send("hello")
        assert "binary frame" in ask.socket.recv()
        ask.socket.send(bytes(10 * running.server.served.most_bytes))
        with pytest.raises(Exception, match="1009"):
            ask.socket.recv()


def test_health_and_metrics(serving, talk, actions_policy):
    running = serving(actions_policy)
    with talk(running.url) as ask:
        ask(SEEN), ask({})
        assert get(running, "/healthz") == "OK\n"
        lines = get(running, "/metrics").splitlines()
    assert {"holdfast_requests_total 1", 'holdfast_errors_total{reason="refused"} 1'} <= set(lines)
    assert {"holdfast_sessions 1", "holdfast_reply_seconds_count 1", 'holdfast_batch_size_bucket{le="1"} 1'} <= {*lines}
    # one HELP and TYPE for each family, and no value that is not a number
    assert sum(line.startswith("# HELP") for line in lines) == sum(line.startswith("# TYPE") for line in lines) == 8
    assert all(float(line.split()[-1]) >= 0 for line in lines if not line.startswith("#"))


def get(running, path, headers=None):
    request = urllib.request.Request(f"http://127.0.0.1:{running.server.port}{path}", headers=headers or {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def test_metadata_is_plain(gains_policy):
    from holdfast.serve.served import Served

    assert json.loads(json.dumps(Served.of(gains_policy).metadata(0))) == Served.of(gains_policy).metadata(0)


def test_a_plan_that_is_not_finite_is_refused(serving, talk, actions_planner):
    broken = replace(actions_planner, code_scale=replace(actions_planner.code_scale))
    object.__setattr__(broken.code_scale, "half", torch.full((2,), torch.inf))
    with talk(serving(Policy(broken)).url) as ask:
        assert "was not handed out" in ask(SEEN)
