"""`holdfast serve`: a trained policy for programs on this machine or another one."""

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ..devices import usable_device
from ..errors import MissingExtraError
from ..interrupts import SIGNALS
from ..policy.loading import load_ready
from ..policy.ready import Readiness
from ..serve.admission import read_token
from .console import console

if TYPE_CHECKING:
    from ..serve.server import Server


@dataclass(frozen=True)
class Serve:
    """Serve a trained policy to robots: observations in, plans out, over a websocket.

    The protocol is that of openpi (Physical Intelligence): its client, `openpi-client`, works without changes, and
    `holdfast.serve.Client` reconnects by itself. A plan of a policy with gains holds the reference actions ū
    (`actions`) and, as `controllers`, also x̄ and K. `holdfast.serve.Client` executes the feedback ū + K (x - x̄). A
    program that executes only the `actions`, as is usual with openpi-client, loses this feedback; the server says so
    when it starts.

    Each connection is one episode, with its own past observations and its own random numbers; plans for several
    connections are computed together. The same port has /healthz and, for Prometheus, /metrics.

    Only programs on this machine can connect, unless --host and --token-file are given. Connections are not encrypted.
    Ctrl-C, SIGTERM or the end of the terminal (SIGHUP) answers the requests in flight and ends with status 0.
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder of a trained policy."""
    host: Annotated[str, tyro.conf.arg(metavar="ADDRESS")] = "127.0.0.1"
    """Address or name to listen on; 0.0.0.0 stands for all IPv4 addresses of this machine, :: for all IPv6 addresses.
    Every address that other machines may reach, and every name but localhost, needs --token-file."""
    port: int = 8000
    """Port to listen on; 0 chooses a free one, which is printed."""
    token_file: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File with a secret of at least 16 characters, which clients must send (openpi's api_key), and which other users
    of this machine cannot read. Make one with: umask 077; openssl rand -hex 32 > FILE. Default: none, and only this
    machine can connect."""
    seed: int = 0
    """Random seed of the first connection; each further one has the next seed, which is in the first message to it."""
    sessions: int = 256
    """Largest number of connections that are served at a time; further ones are refused."""
    device: str = "cpu"
    """Device on which the network runs: cpu or cuda."""

    def run(self) -> None:
        """Serve until a signal arrives."""
        server, readiness = self._server()
        asyncio.run(_serve(server, str(self.run_folder), str(readiness)))

    def _server(self) -> tuple["Server", Readiness]:
        try:
            from ..serve.server import Limits, Server
        except ModuleNotFoundError as error:
            raise MissingExtraError(error.name or "aiohttp", extra="serve") from error
        token = None if self.token_file is None else read_token(self.token_file)
        policy, readiness = load_ready(self.run_folder, device=usable_device(self.device), seed=self.seed)
        limits = Limits(sessions=self.sessions, waiting=self.sessions)
        return Server(policy, host=self.host, port=self.port, token=token, seed=self.seed, limits=limits), readiness


def notices(server: "Server") -> list[str]:
    """What the writer of a client should know of the plans."""
    if not server.served.has_gains:
        return []
    return [
        "plans have gains: a client that executes only their `actions` has no feedback between plans. Compute "
        "ū + K (x - x̄) from their `controllers`, or use holdfast.serve.Client."
    ]


async def _serve(server: "Server", name: str, readiness: str) -> None:
    """Serve until the first signal; a second one ends the process at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def told(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)

    # `nohup` ignores SIGHUP, and the server then outlives its terminal
    ended = [number for number in SIGNALS if number is signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN]
    for number in ended:
        loop.add_signal_handler(number, told, number)
    await server.start()
    address = f"[{server.host}]" if ":" in server.host else server.host
    console.say(f"serving {name} on ", (f"ws://{address}:{server.port}", "bold"), "; Ctrl-C stops it")
    for sentence in (readiness, *notices(server)):
        console.say(sentence, style="dim")
    await stop.wait()
    console.say("stopping: requests in flight are answered")
    await server.stop()
    console.say(f"stopped after {server.metrics.requests} plans in {server.metrics.opened} sessions")
