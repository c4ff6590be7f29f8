"""The server as a process: strangers, kill -9, SIGTERM, and the command line's errors.

A small part runs with the other tests; ten thousand strangers with `pytest -m campaign tests/serve`.
"""

import importlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from holdfast.errors import MissingExtraError
from holdfast.policy import Policy
from holdfast.serve import Client

from .strangers import FRAMES, REQUESTS, SEEN, attack

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "serve.py"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def run(actions_planner, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "run"
    Policy(actions_planner).save_pretrained(folder)
    return folder


def start(run, *options):
    command = [sys.executable, "-m", "holdfast", "serve", str(run), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def port_of(process):
    line = process.stdout.readline()
    found = re.search(r"ws://127\.0\.0\.1:(\d+); Ctrl-C stops it", line)
    assert found, (line, process.poll(), process.stderr.read() if process.poll() is not None else "")
    return int(found[1])


def memory_of(process):
    """Resident memory [MiB]."""
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())[1]) / 1024


def strangers_are_survived(run, count, *, most):
    """None ends the server, none costs memory that stays, and a client is served throughout."""
    process = start(run, "--port", "0")
    try:
        port = port_of(process)
        with Client(f"ws://127.0.0.1:{port}", timeout=20.0) as client:
            alone = client.predict_action_chunk(SEEN)

            def served():
                np.testing.assert_allclose(client.predict_action_chunk(SEEN), alone, atol=1e-5)

            attack(port, min(count, 50), seed=1, meanwhile=served)
            before = memory_of(process)
            kinds, longest = attack(port, count, seed=0, meanwhile=served)
            grown = memory_of(process) - before
            # no request of the client was sent twice: its one connection was never lost
            assert client.metadata["seed"] == 0
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        print(f"{sum(kinds.values())} strangers, {grown:.1f} MiB more, longest call {longest:.2f} s")
        assert process.returncode == 0
        assert "Traceback" not in errors
        assert grown < most
        return kinds
    finally:
        process.kill()


def test_strangers(run):
    strangers_are_survived(run, 300, most=60)


@pytest.mark.campaign
def test_ten_thousand_strangers(run):
    kinds = strangers_are_survived(run, 10_000, most=60)
    assert {*kinds} == {*FRAMES, *REQUESTS, "slow reader"}


def flown_on(port, begun, goes_on, found):
    """Actions of a client before and after its server is killed; the kill comes while others ask for plans."""
    with Client(f"ws://127.0.0.1:{port}", timeout=5.0, patience=60.0) as client:
        for _ in range(6):
            found.append(client.select_action(SEEN))
        begun.release()
        while not goes_on.is_set():
            found.append(client.select_action(SEEN))
        found.extend(client.select_action(SEEN) for _ in range(6))


def test_kill_9_and_a_restart_while_clients_fly(run):
    first = start(run, "--port", "0")
    port = port_of(first)
    begun, goes_on, found = threading.Semaphore(0), threading.Event(), [list[np.ndarray]() for _ in range(4)]
    flights = [threading.Thread(target=flown_on, args=(port, begun, goes_on, one)) for one in found]
    for flight in flights:
        flight.start()
    for _ in flights:
        assert begun.acquire(timeout=30)
    first.kill()
    first.wait()
    goes_on.set()
    second = start(run, "--port", str(port))
    try:
        for flight in flights:
            flight.join(60)
        assert not any(flight.is_alive() for flight in flights)
        assert all(len(actions) >= 12 and np.isfinite(actions).all() for actions in found)
        second.send_signal(signal.SIGTERM)
        assert second.wait(30) == 0
        assert re.search(r"stopped after \d+ plans in 4 sessions", second.stdout.read())
    finally:
        second.kill()


def test_the_end_of_the_terminal_answers_what_is_in_flight(run):
    process = start(run, "--port", "0")
    try:
        with Client(f"ws://127.0.0.1:{port_of(process)}") as client:
            client.predict_action_chunk(SEEN)
            process.send_signal(signal.SIGHUP)
            said, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        assert "stopping: requests in flight are answered" in said
        assert "stopped after 1 plans in 1 sessions" in said
    finally:
        process.kill()


def test_odd_options_are_refused_in_words(run, tmp_path, capsys):
    from holdfast.cli import main

    for options, words in {
        ("--host", "0.0.0.0"): "--token-file",
        ("--port", "70000"): "at most 65535",
        ("--token-file", str(tmp_path / "none")): "does not exist",
        ("--sessions", "0"): "at least 1 session",
    }.items():
        assert main(["serve", str(run), *options]) == 1
        assert words in capsys.readouterr().err


def test_without_the_extra_the_message_names_it(run, capsys, monkeypatch):
    from holdfast.cli import main

    monkeypatch.delitem(sys.modules, "holdfast.serve.server", raising=False)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    assert main(["serve", str(run)]) == 1
    assert "aiohttp is not installed. Install it with: pip install 'holdfast[serve]'" in capsys.readouterr().err


@pytest.mark.parametrize(("package", "module"), [("aiohttp", "link"), ("msgpack", "wire")])
def test_without_the_extra_the_client_names_it(monkeypatch, package, module):
    monkeypatch.delitem(sys.modules, f"holdfast.serve.{module}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=package):
        importlib.import_module(f"holdfast.serve.{module}")


def test_many_loops_lose_no_reply(serving, actions_policy):
    """The benchmark's control loops, fewer and for a shorter time, in one process with the server."""
    import asyncio

    spec = importlib.util.spec_from_file_location("benchmark_serve", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    sys.modules["benchmark_serve"] = benchmark
    spec.loader.exec_module(benchmark)
    running = serving(benchmark_policy(actions_policy))
    options = {"loops": 24, "rate": 50.0, "every": 10, "seconds": 2.0}
    for together in (False, True):
        counted = asyncio.run(benchmark.control_loops(running.url, together=together, **options))
        assert counted.lost == []
        assert len(counted.latencies) == 24 * 10
    assert running.server.metrics.requests == 2 * 24 * 10
    # requests that arrive together are planned together
    assert running.server.metrics.sizes.total / sum(running.server.metrics.sizes.counts) > 1.2


def benchmark_policy(policy):
    """The policy with ranges, from which the loops draw observations."""
    from dataclasses import replace

    from holdfast.policy import Coordinates, PolicyInterface

    three, two = ({"low": (-1.0,) * n, "high": (1.0,) * n} for n in (3, 2))
    interface = PolicyInterface(
        observation=Coordinates(**three), state=Coordinates(**three), action=Coordinates(**two), n_robot=3
    )
    return Policy(replace(policy.planner, interface=interface))
