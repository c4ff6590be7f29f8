"""Who may connect: addresses, tokens, pages of browsers; what strangers cost; how a server ends."""

import asyncio
import errno
import os
import socket
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from holdfast.cli.serve import notices
from holdfast.errors import RecipeError
from holdfast.policy import Policy
from holdfast.serve import Client
from holdfast.serve.admission import read_token
from holdfast.serve.server import Server

TOKEN = "0123456789abcdef0123"
SEEN = {"observation/state": np.array([0.1, -0.2, 0.3])}


def raw(running, request=b""):
    """A socket that has sent some bytes."""
    opened = socket.create_connection(("127.0.0.1", running.server.port), timeout=10)
    opened.sendall(request)
    return opened


def is_ended(opened):
    """Whether the server ends a connection within ten seconds; what it sent is read."""
    try:
        while opened.recv(4096):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "robot.example"])
def test_other_addresses_need_a_token(actions_policy, host):
    with pytest.raises(RecipeError, match="--token-file"):
        Server(actions_policy, host=host)
    Server(actions_policy, host=host, token=TOKEN)


@pytest.mark.parametrize("content", ["short", "", "with space 0123456789", "\u00e4" * 20, "a" * 2000])
def test_odd_tokens_are_refused(tmp_path, content):
    (tmp_path / "token").write_text(content)
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(RecipeError, match="visible ASCII"):
        read_token(tmp_path / "token")


@pytest.mark.parametrize("token", ["", "short", " " * 20, "a" * 1025, "\u00e4" * 20])
def test_a_server_takes_no_odd_token(actions_policy, token):
    """Above all not an empty one, as of a variable that is not set: everybody would have it."""
    with pytest.raises(RecipeError, match="expected a token of 16 to 1024 visible ASCII characters"):
        Server(actions_policy, host="0.0.0.0", token=token)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602])
def test_a_token_that_others_can_read_or_change_is_refused(tmp_path, mode):
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(mode)
    with pytest.raises(RecipeError, match=r"can read or change .*\. Run: chmod 600"):
        read_token(path)
    path.chmod(0o600)
    assert read_token(path) == TOKEN


@pytest.mark.parametrize("content", [f"{TOKEN}\n", f"{TOKEN}\r\n", f"\t{TOKEN}", TOKEN])
def test_spaces_around_a_token_do_not_belong_to_it(tmp_path, content):
    (tmp_path / "token").write_bytes(content.encode())
    (tmp_path / "token").chmod(0o600)
    assert read_token(tmp_path / "token") == TOKEN


def test_what_is_no_token_file_is_named_with_the_command_that_makes_one(tmp_path):
    missing = tmp_path / "token"
    with pytest.raises(RecipeError, match=r"does not exist. Make one.*umask 077; openssl rand -hex 32 > ") as refused:
        read_token(missing)
    assert str(refused.value).endswith(f"> {missing}")
    with pytest.raises(RecipeError, match=f"the token file {tmp_path} is a folder. Make one.*umask 077"):
        read_token(tmp_path)


def test_a_pipe_is_no_token_and_nobody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "token", 0o600)
    with pytest.raises(RecipeError, match="is a pipe"):
        read_token(tmp_path / "token")


def test_only_clients_with_the_token_get_in(serving, talk, actions_policy):
    running = serving(actions_policy, token=TOKEN)
    for headers in ({}, {"Authorization": TOKEN}, {"Authorization": f"Api-Key {TOKEN[:-1]}"}):
        with pytest.raises(InvalidStatus, match="401"), talk(running.url, additional_headers=headers):
            pass
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask_http(running, "/metrics", headers)
    with talk(running.url, additional_headers={"Authorization": f"Api-Key {TOKEN}"}) as ask:
        assert ask(SEEN)["actions"].shape == (8, 2)
    assert running.server.metrics.errors["token"] == 6
    ask_http(running, "/healthz", {})


def ask_http(running, path, headers):
    request = urllib.request.Request(f"http://127.0.0.1:{running.server.port}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


@pytest.mark.parametrize(
    ("origin", "host", "enters"),
    [
        ("http://evil.example", None, False),
        ("http://evil.example:{port}", "evil.example:{port}", False),
        ("null", None, False),
        ("http://127.0.0.1:{port}", None, True),
        ("http://127.0.0.1:1", None, False),
    ],
)
def test_pages_of_other_sites_do_not_get_in(shared, origin, host, enters):
    port = shared.server.port
    host, origin = (text.format(port=port) for text in (host or "127.0.0.1:{port}", origin))
    request = (
        f"GET / HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    with raw(shared, request.encode()) as opened:
        assert opened.recv(4096).startswith(b"HTTP/1.1 101" if enters else b"HTTP/1.1 403")


def test_a_plain_request_is_told_what_this_is(shared):
    with pytest.raises(urllib.error.HTTPError, match="426"):
        ask_http(shared, "/", {})
    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask_http(shared, "/etc/passwd", {})


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(5000)),
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000,
        b"GET /" + b"a" * 100_000,
        b"\x16\x03\x01" + bytes(100),
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n" + bytes(1000),
    ],
    ids=["silent", "half a header", "many headers", "long header", "long path", "TLS", "large body"],
)
def test_half_open_connections_and_header_bombs_end(serving, talk, actions_policy, quick_limits, begin):
    running = serving(actions_policy, limits=quick_limits)
    with talk(running.url) as ask:
        opened = [raw(running) for _ in range(10)]
        for one in opened:
            with suppress(ConnectionError):  # ended while it still sent
                one.sendall(begin)
        assert ask(SEEN)["actions"].shape == (8, 2)
        assert all(is_ended(one) for one in opened)
        assert ask(SEEN)["actions"].shape == (8, 2)


def test_too_many_sessions_and_connections_are_refused(serving, talk, actions_policy, quick_limits):
    running = serving(actions_policy, limits=replace(quick_limits, sessions=1, opening=10.0))
    with talk(running.url) as ask:
        with pytest.raises(InvalidStatus, match="503"), talk(running.url):
            pass
        most = running.server.limits.connections
        silent = [raw(running) for _ in range(most)]
        # the system hands over connections by the hundred, and counts them afterwards
        wait_for(lambda: len(running.server.runner.server.connections) >= most)
        with raw(running) as one_more:
            assert is_ended(one_more)
        # one of the silent ones too, where the connection of `ask` was counted before them
        assert running.server.metrics.errors["connections"] in (1, 2)
        assert ask(SEEN)["actions"].shape == (8, 2)
        for one in silent:
            one.close()


def test_a_full_queue_says_so(serving, talk, actions_policy, quick_limits, monkeypatch):
    running = serving(actions_policy, limits=replace(quick_limits, waiting=1, sending=5.0))
    begun, go = hold_plans(monkeypatch)
    with talk(running.url) as one, talk(running.url) as two, talk(running.url) as three:
        from holdfast.serve.wire import pack

        one.socket.send(pack(SEEN))
        assert begun.wait(10)
        two.socket.send(pack(SEEN))
        while not running.server.worker.waiting:
            time.sleep(0.01)
        assert three(SEEN).startswith("the server is busy: 1 requests wait")
        go.set()
        assert isinstance(one.socket.recv(timeout=10), bytes)
        assert isinstance(two.socket.recv(timeout=10), bytes)
        assert three(SEEN)["actions"].shape == (8, 2)


def hold_plans(monkeypatch):
    """Let plans wait; returns an event for their beginning, and one that lets them go."""
    import threading

    from holdfast.serve import worker

    begun, go, plan_all = threading.Event(), threading.Event(), worker.plan_all

    def held(jobs):
        begun.set()
        assert go.wait(20)
        return plan_all(jobs)

    monkeypatch.setattr(worker, "plan_all", held)
    return begun, go


def test_stopping_answers_what_is_in_flight(serving, talk, actions_policy, monkeypatch):
    from holdfast.serve.wire import pack, unpack

    running = serving(actions_policy)
    begun, go = hold_plans(monkeypatch)
    with talk(running.url) as busy, talk(running.url) as idle:
        busy.socket.send(pack(SEEN))
        assert begun.wait(10)
        stopping = asyncio.run_coroutine_threadsafe(running.server.stop(), running.loop)
        with pytest.raises(ConnectionClosed, match="1001"):
            idle.socket.recv(timeout=10)
        with pytest.raises(OSError, match=r"refused|reset"):
            raw(running).recv(1)
        go.set()
        assert unpack(busy.socket.recv(timeout=10))["actions"].shape == (8, 2)
        with pytest.raises(ConnectionClosed, match="1001"):
            busy.socket.recv(timeout=10)
        stopping.result(10)
    running.loop.call_soon_threadsafe(running.loop.stop)
    running.thread.join(10)


def test_a_bug_is_no_traceback_for_clients(serving, talk, actions_policy, monkeypatch, caplog):
    from holdfast.serve import worker

    running = serving(actions_policy)
    monkeypatch.setattr(worker, "plan_all", lambda jobs: 1 / 0)
    with talk(running.url) as ask:
        assert ask(SEEN) == "the server failed with an internal error, which is in its log. The session is as before."
        assert "ZeroDivisionError" in caplog.text
        monkeypatch.undo()
        assert ask(SEEN)["actions"].shape == (8, 2)


def test_a_slow_reader_is_dropped(serving, talk, gains_policy, quick_limits):
    """It sends requests and reads no reply: its own socket fills, and then its connection ends."""
    from holdfast.serve.wire import pack

    running = serving(gains_policy, limits=quick_limits)
    seen = {"x": 0.0, "y": 0.0, "z": 0.0, "goal": 0.0}
    with talk(running.url) as ask:
        slow = raw(running, upgrade(running))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(20)
        frame = framed(pack(seen))
        with pytest.raises(OSError, match=r"reset|pipe"):
            flood(slow, frame)
        assert len(ask(seen)["actions"]) == 8
        wait_for(lambda: running.server.metrics.sessions == 1)


def flood(slow, frame):
    for _ in range(200_000):
        slow.sendall(frame)


def upgrade(running):
    lines = (
        "GET / HTTP/1.1",
        f"Host: 127.0.0.1:{running.server.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def framed(data, announced=None):
    """A binary frame with a mask of zeros, whose header may announce another length."""
    return b"\x82\xff" + (len(data) if announced is None else announced).to_bytes(8, "big") + bytes(4) + data


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_header_of_a_gigabyte_ends_the_session(serving, talk, actions_policy):
    running = serving(actions_policy)
    with talk(running.url) as ask, raw(running, upgrade(running)) as opened:
        opened.sendall(framed(b"", announced=2**30))
        assert is_ended(opened)
        assert ask(SEEN)["actions"].shape == (8, 2)


def test_a_port_in_use_and_an_address_of_elsewhere(serving, actions_policy):
    port = serving(actions_policy).server.port
    with pytest.raises(RecipeError, match=f"port {port} of 127.0.0.1 is in use"):
        serving(actions_policy, port=port)
    with pytest.raises(RecipeError, match="no address of this machine"):
        serving(actions_policy, host="192.0.2.1", token=TOKEN)


@pytest.mark.parametrize(
    "host", ["", " ", "ws://127.0.0.1", "127.0.0.1:8000", "[::1]:8000", "a\0b", "a b", "a" * 300, "-a", "a..b"]
)
def test_what_is_no_host_is_refused_in_words(actions_policy, host):
    with pytest.raises(RecipeError, match=r"expected --host as an address or a name .* Give the port as --port\."):
        Server(actions_policy, host=host, token=TOKEN)


@pytest.mark.parametrize(
    ("given", "host"), [("[::1]", "::1"), ("LocalHost", "localhost"), (" 127.0.0.1 ", "127.0.0.1"), ("::1", "::1")]
)
def test_hosts_are_read_as_they_are_written(actions_policy, given, host):
    assert Server(actions_policy, host=given).host == host


@pytest.mark.parametrize("port", [-1, 65536, 10**9, True])
def test_what_is_no_port_is_refused_in_words(actions_policy, port):
    with pytest.raises(RecipeError, match=r"expected a port from 0 \(any free one\) to 65535, got"):
        Server(actions_policy, port=port)


def test_an_address_of_ipv6_is_served(serving, actions_policy):
    try:
        running = serving(actions_policy, host="[::1]")
    except RecipeError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with Client(f"ws://[::1]:{running.server.port}", patience=5.0) as client:
        assert client.select_action(np.array([0.1, -0.2, 0.3])).shape == (2,)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (
            errno.EACCES,
            "port 80 of 127.0.0.1 needs the rights of the administrator. Choose a --port from 1024 to 65535.",
        ),
        (errno.EADDRINUSE, "port 80 of 127.0.0.1 is in use. Stop the program that uses it, or choose another --port"),
        (errno.EADDRNOTAVAIL, "127.0.0.1 is no address of this machine on which port 80 can be opened (Cannot assign"),
    ],
)
def test_a_port_that_cannot_be_opened_is_refused_in_words(serving, actions_policy, monkeypatch, number, words):
    async def refused(self, *_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_server", refused)
    with pytest.raises(RecipeError) as said:
        serving(actions_policy, port=80)
    assert str(said.value).startswith(words)


def test_a_name_that_leads_elsewhere_needs_a_token(serving, actions_policy, monkeypatch):
    """What counts is the address that was opened, not the name; nothing stays open after the refusal."""
    bind = asyncio.BaseEventLoop.create_server
    opened = list[asyncio.Server]()

    async def elsewhere(self, protocol, host, port):
        opened.append(await bind(self, protocol, "0.0.0.0", port))
        return opened[-1]

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_server", elsewhere)
    with pytest.raises(RecipeError, match=r"^0\.0\.0\.0 may be reached from other machines"):
        serving(actions_policy, host="localhost")
    assert not opened[0].is_serving()


def test_the_server_says_that_feedback_must_be_executed(gains_planner, actions_planner):
    (said,) = notices(Server(Policy(gains_planner)))
    assert "a client that executes only their `actions` has no feedback between plans" in said
    assert notices(Server(Policy(actions_planner))) == []
