"""Server of a policy: one port for openpi's websocket, `/healthz` and `/metrics`.

robot ──observation──► session: window, stream ──► queue ──► batch ──► plan ──actions, controllers──► robot
"""

import asyncio
import errno
import logging
import os
from typing import cast

from aiohttp import web

from ..errors import RecipeError
from ..policy import Policy
from .addresses import check_port, host_of
from .admission import check_address, check_token, has_token, is_own_origin
from .connection import Connection
from .limits import Limits
from .metrics import Metrics
from .planning import Session
from .served import Served
from .worker import Worker

_QUIET = logging.getLogger("holdfast.serve.http")
# what strangers send is counted, not written to a log line by line
_QUIET.setLevel(logging.CRITICAL + 1)

_SEEDS = 2**32


class Server:
    """Server of one policy.

    Args:
        policy: Trained policy.
        host: Address to listen on.
        port: Port; 0 chooses a free one.
        token: Secret that clients must send; required unless only this machine can connect.
        seed: Random seed of the first session; each further one has the next seed.
        limits: Limits of the server.

    Raises:
        RecipeError: Other machines could connect without a token, or host, port or token are none.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        token: str | None = None,
        seed: int = 0,
        limits: Limits | None = None,
    ) -> None:
        host = host_of(host)
        check_port(port)
        check_token(token)
        check_address(host, token)
        self.served, self.host, self.port, self.token, self.seed = Served.of(policy), host, port, token, seed
        self.limits = limits or Limits()
        self.metrics = Metrics()
        self.connections = set[Connection]()

    async def start(self) -> None:
        """Bind the port and accept connections; `port` is then the bound one.

        Raises:
            RecipeError: The port is in use, or the address is not one of this machine.
        """
        app = web.Application(client_max_size=1024)
        app.add_routes([web.get("/", self._session), web.get("/healthz", _health), web.get("/metrics", self._metrics)])
        self.runner = web.AppRunner(
            app,
            handle_signals=False,
            access_log=None,
            logger=_QUIET,
            keepalive_timeout=self.limits.opening,
            lingering_time=0,
            max_line_size=4096,
            max_field_size=4096,
            max_headers=64,
            shutdown_timeout=1.0,
        )
        await self.runner.setup()
        self.worker = Worker(self.metrics, most_waiting=self.limits.waiting, most_together=self.limits.together)
        try:
            loop = asyncio.get_running_loop()
            self.listener = await loop.create_server(self._accepted, self.host, self.port)
        except OSError as error:
            await self._release()
            raise RecipeError(_unbound(error, self.host, self.port)) from error
        bound = [one.getsockname() for one in self.listener.sockets]
        try:
            # a name such as localhost stands for whatever the system says
            for address, *_ in bound:
                check_address(address, self.token)
        except RecipeError:
            self.listener.close()
            await self._release()
            raise
        self.port = bound[0][1]

    async def stop(self) -> None:
        """Accept no more connections, answer the requests in flight, and end all sessions."""
        self.listener.close()
        try:
            async with asyncio.timeout(self.limits.closing):
                await asyncio.gather(*(connection.stop() for connection in self.connections))
                while self.connections:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            self.metrics.errors["unanswered"] += sum(connection.busy for connection in self.connections)
        await self._release()

    async def _release(self) -> None:
        await self.worker.close()
        await self.runner.cleanup()

    def _accepted(self) -> asyncio.Protocol:
        """The protocol of a new connection, which is ended at once where there are too many."""
        server = self.runner.server
        assert server is not None
        if len(server.connections) >= self.limits.connections:
            self.metrics.errors["connections"] += 1
            return _Ended()
        return cast(asyncio.Protocol, server())

    async def _session(self, request: web.Request) -> web.StreamResponse:
        if refusal := self._refusal(request):
            return refusal
        socket = web.WebSocketResponse(
            timeout=1.0, heartbeat=self.limits.heartbeat, compress=False, max_msg_size=self.served.most_bytes
        )
        if not socket.can_prepare(request).ok or request.transport is None:
            return _text(426, "this is a policy server of Holdfast. Connect with a websocket, as openpi-client does.")
        seed = (self.seed + self.metrics.opened) % _SEEDS
        self.metrics.opened += 1
        await socket.prepare(request)
        connection = Connection(
            socket,
            request.transport,
            session=Session(self.served, seed),
            worker=self.worker,
            metrics=self.metrics,
            limits=self.limits,
        )
        await self._run(connection)
        return socket

    async def _run(self, connection: Connection) -> None:
        self.connections.add(connection)
        self.metrics.sessions = len(self.connections)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)
            self.metrics.sessions = len(self.connections)

    def _refusal(self, request: web.Request) -> web.Response | None:
        """Why a request is refused; `None` where it is not."""
        if not is_own_origin(request.headers.get("Origin"), request.headers.get("Host")):
            return self._refused("origin", 403, "pages of other sites must not connect.")
        if not has_token(request.headers.get("Authorization"), self.token):
            return self._refused("token", 401, "expected the header 'Authorization: Api-Key TOKEN'.")
        if request.path == "/" and len(self.connections) >= self.limits.sessions:
            return self._refused("sessions", 503, f"the server is busy: {self.limits.sessions} sessions are open.")
        return None

    def _refused(self, reason: str, status: int, sentence: str) -> web.Response:
        self.metrics.errors[reason] += 1
        return _text(status, sentence)

    async def _metrics(self, request: web.Request) -> web.Response:
        return self._refusal(request) or _text(200, self.metrics.text())


class _Ended(asyncio.Protocol):
    """Connection that is ended at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()


async def _health(request: web.Request) -> web.Response:
    return _text(200, "OK")


def _text(status: int, sentence: str) -> web.Response:
    response = web.Response(status=status, text=f"{sentence.rstrip()}\n")
    # so that a connection that asked once cannot stay
    response.force_close()
    return response


def _unbound(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use. Stop the program that uses it, or choose another --port (0: any)."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} of {host} needs the rights of the administrator. Choose a --port from 1024 to 65535."
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
    return f"{host} is no address of this machine on which port {port} can be opened ({reason}). Choose another --host."
