"""Latency of `holdfast serve` under many control loops, and what a client sees when the server is killed.

    python benchmarks/serve.py [--run RUN] [--loops 64] [--rate 10] [--every 10] [--seconds 60] [--out FILE.json]

Each loop observes at its rate and asks for a plan every so many steps, at times that do not depend on when replies come
(t₀ + k · dt); all loops are coroutines of this process, with websockets of their own and openpi's bytes, and the server
is another process. The *latency* is the time from sending an observation to having the decoded plan. First the loops
begin at random times within a plan's period, then all of them at the same time, which is the worst case.

Then one `holdfast.serve.Client` steps at the same rate, its server is killed (SIGKILL) and started again, and its
longest step is reported; most of it is the start of the server. Without --run, a policy of the architecture that the
default recipe gives Push-T (chunks of 16, 30 sampling steps) is made, with random weights: they do not change the
latency.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from websockets.asyncio.client import connect

import holdfast as hf
from holdfast.serve import Client
from holdfast.serve.wire import pack, unpack

PATIENCE = 10.0
"""Seconds after which a reply counts as lost [s]."""


@dataclass
class Counted:
    """What the loops saw: latencies [s], and requests without a reply."""

    latencies: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


async def control_loop(url: str, counted: Counted, *, begin: float, rate: float, every: int, seconds: float) -> None:
    """One robot: a plan every so many steps, on the grid of its clock."""
    async with connect(url, compression=None) as line:
        about = unpack(await line.recv())["observation"]
        low, high = np.array(about["low"]), np.array(about["high"])
        rng = np.random.default_rng(int(1e6 * begin) % 2**32)
        start = time.perf_counter() + begin
        for plan in range(int(seconds * rate / every)):
            await asyncio.sleep(max(0.0, start + plan * every / rate - time.perf_counter()))
            seen = rng.uniform(low, high)
            message, own = {}, 0
            for key, size in about["keys"].items():
                message[key], own = seen[own : own + size], own + size
            asked = time.perf_counter()
            try:
                await line.send(pack(message))
                reply = await asyncio.wait_for(line.recv(), PATIENCE)
                if isinstance(reply, str):
                    raise RuntimeError(reply)
                assert np.isfinite(unpack(reply)["actions"]).all()
                counted.latencies.append(time.perf_counter() - asked)
            except Exception as error:  # every failure is a lost reply, and is reported
                counted.lost.append(f"{type(error).__name__}: {error}")
                return


async def control_loops(
    url: str, *, loops: int, rate: float, every: int, seconds: float, together: bool = False
) -> Counted:
    """All robots, which begin within one period of a plan, or at once."""
    counted, rng = Counted(), random.Random(0)
    begins = [1.0 + (0.0 if together else rng.random() * every / rate) for _ in range(loops)]
    work = (control_loop(url, counted, begin=one, rate=rate, every=every, seconds=seconds) for one in begins)
    await asyncio.gather(*work)
    return counted


def made_run(folder: Path) -> Path:
    """A run of the architecture that the default recipe gives Push-T, with random weights."""
    rng = np.random.default_rng(0)
    states = [rng.uniform(0, 512, (60, 20)) for _ in range(8)]
    episodes = hf.episodes_from_arrays(states, [rng.uniform(0, 512, (60, 2)) for _ in states], dt=0.1)
    recipe = hf.default_recipe(episodes)
    recipe = replace(recipe, training=replace(recipe.training, steps=1, warmup_steps=1, batch_size=8))
    hf.fit(recipe, hf.prepare(recipe, episodes), folder / "run")
    return folder / "run"


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@contextmanager
def server(run: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """A server in another process, which has begun to listen."""
    command = [sys.executable, "-m", "holdfast", "serve", str(run), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert re.search(r"ws://127", line), line
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def counters(port: int) -> dict[str, float]:
    """The server's own counters."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as page:
        lines = page.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def processor_time(process: subprocess.Popen[str]) -> float:
    """Processor time of a process [s]."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watched(process: subprocess.Popen[str], port: int, options: dict[str, Any], *, together: bool) -> dict[str, Any]:
    """Latencies of the loops, beside what the server needed for them: the time of a batch, and of the processor."""
    before, used, begun = counters(port), processor_time(process), time.perf_counter()
    counted = asyncio.run(control_loops(f"ws://127.0.0.1:{port}", together=together, **options))
    used, seconds = processor_time(process) - used, time.perf_counter() - begun
    more = {name: value - before[name] for name, value in counters(port).items() if name in before}
    batches = more["holdfast_plan_seconds_count"]
    return {
        **summary(counted),
        "batch_ms": 1000 * more["holdfast_plan_seconds_sum"] / batches,
        "batch_size": more["holdfast_batch_size_sum"] / batches,
        "processor_ms_per_plan": 1000 * used / max(len(counted.latencies), 1),
        "share_of_a_core": used / seconds,
        "memory_mib": memory_of(process),
    }


def memory_of(process: subprocess.Popen[str]) -> float:
    """Resident memory of a process [MiB]."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return float(found[1]) / 1024 if found else float("nan")


def summary(counted: Counted) -> dict[str, Any]:
    """Numbers of replies, and quantiles of the latency [ms]."""
    times = sorted(1000 * latency for latency in counted.latencies)
    cuts = statistics.quantiles(times, n=1000) if len(times) > 1 else [float("nan")] * 999
    found = {"replies": len(times), "lost": len(counted.lost), "p50": cuts[499], "p99": cuts[989], "max": times[-1]}
    return {**found, "late": sum(one > 100 for one in times), "reasons": sorted(set(counted.lost))[:5]}


def killed(run: Path, *, rate: float, seconds: float) -> dict[str, Any]:
    """Steps of one client while its server is killed and started again."""
    port, times = free_port(), list[float]()
    with server(run, port) as first, Client(f"ws://127.0.0.1:{port}", timeout=5.0, patience=120.0) as client:
        about = client.metadata["observation"]
        seen = np.random.default_rng(0).uniform(about["low"], about["high"])
        sizes = np.cumsum(list(about["keys"].values()))[:-1]
        message = dict(zip(about["keys"], np.split(seen, sizes), strict=True))
        steps = int(rate * seconds)
        for step in range(steps):
            if step == steps // 2:
                first.kill()
                first.wait()
                starting = subprocess.Popen(
                    [sys.executable, "-m", "holdfast", "serve", str(run), "--port", str(port)],
                    stdout=subprocess.DEVNULL,
                )
            asked = time.perf_counter()
            assert np.isfinite(client.select_action(message)).all()
            times.append(time.perf_counter() - asked)
            time.sleep(max(0.0, 1 / rate - times[-1]))
        starting.send_signal(signal.SIGTERM)
        status = starting.wait(20)
    longest = max(range(steps), key=times.__getitem__)
    return {"steps": len(times), "longest_s": times[longest], "longest_step": longest, "exit_status": status}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--loops", type=int, default=64)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    options = {"loops": given.loops, "rate": given.rate, "every": given.every, "seconds": given.seconds}
    with tempfile.TemporaryDirectory() as folder:
        run = given.run or made_run(Path(folder))
        port = free_port()
        with server(run, port) as process:
            for name, together in (("random phases", False), ("all at once", True)):
                found[name] = watched(process, port, options, together=together)
                print(name, found[name], flush=True)
        found["killed"] = killed(run, rate=given.rate, seconds=min(given.seconds, 20.0))
        print("killed", found["killed"], flush=True)
    if given.out:
        given.out.write_text(json.dumps({"options": options, **found}, indent=1))


if __name__ == "__main__":
    main()
