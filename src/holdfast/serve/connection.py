"""Connection of one session: observations in, plans out, one at a time.

The next message is read after the reply to the last one, so that a client that sends faster fills its own socket and
nothing here. Refusals are text frames of one sentence, as in openpi's protocol; the connection stays open after them.
"""

import asyncio
import logging
import time
from typing import Any

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from ..errors import HoldfastError
from .limits import Limits
from .metrics import Metrics
from .planning import Job, Planned, Session
from .requests import request_of
from .wire import pack, unpack
from .worker import BusyError, Worker

LOG = logging.getLogger("holdfast.serve")
_CLOSING = 2.0


class Connection:
    """Connection of one session.

    Args:
        socket: Prepared websocket.
        transport: Its transport, to end a connection whose client does not read.
        session: Session.
        worker: Thread that plans.
        metrics: Counters of the server.
        limits: Limits of the server.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        *,
        session: Session,
        worker: Worker,
        metrics: Metrics,
        limits: Limits,
    ) -> None:
        self.socket, self.transport, self.session = socket, transport, session
        self.worker, self.metrics, self.limits = worker, metrics, limits
        self.busy = self.stopping = False
        self.last_ms: float | None = None

    async def run(self) -> None:
        """Answer requests until either side ends the connection."""
        try:
            goes_on = await self._send(pack(self.session.served.metadata(self.session.seed)))
            while goes_on and not self.stopping:
                goes_on = await self._next(await self.socket.receive())
        except ConnectionError:
            pass  # the client is gone, and with it the session
        finally:
            await self._end()

    async def stop(self) -> None:
        """End the connection, after the reply if a request is being answered."""
        self.stopping = True
        if not self.busy:
            await self._close()

    async def _next(self, message: WSMessage) -> bool:
        """React to a message; returns whether the connection goes on."""
        if message.type is WSMsgType.BINARY:
            self.busy = True
            try:
                return await self._send(await self._reply(message.data))
            finally:
                self.busy = False
        if message.type is WSMsgType.TEXT:
            self.metrics.errors["protocol"] += 1
            return await self._send(
                "this server speaks openpi's protocol: send each observation as a binary frame of msgpack, not as text."
            )
        if message.type is WSMsgType.ERROR:
            self.metrics.errors["protocol"] += 1
        return False

    async def _reply(self, data: bytes) -> bytes | str:
        """The plan for a message, or a sentence why there is none."""
        begun = time.perf_counter()
        try:
            request = request_of(unpack(data), self.session.served)
            planned = await self.worker.plan(Job(self.session, request))
            return self._packed(planned, time.perf_counter() - begun)
        except BusyError as error:
            self.metrics.errors["busy"] += 1
            return str(error)
        except HoldfastError as error:
            self.metrics.errors["refused"] += 1
            return str(error)
        # a bug, whose traceback is for the server's log alone
        except Exception:
            self.metrics.errors["internal"] += 1
            LOG.exception("a request could not be answered")
            return "the server failed with an internal error, which is in its log. The session is as before."

    def _packed(self, planned: Planned, seconds: float) -> bytes:
        timing = {"infer_ms": 1000 * seconds}
        if self.last_ms is not None:
            timing["prev_total_ms"] = self.last_ms
        self.last_ms = 1000 * seconds
        self.metrics.requests += 1
        self.metrics.seconds.add(seconds)
        return pack({**reply_of(planned, self.session), "server_timing": timing})

    async def _send(self, data: bytes | str) -> bool:
        """Send a frame; returns whether the client accepted it in time."""
        try:
            async with asyncio.timeout(self.limits.sending):
                await (self.socket.send_bytes(data) if isinstance(data, bytes) else self.socket.send_str(data))
        except TimeoutError:
            self.metrics.errors["slow_reader"] += 1
            self.transport.abort()
            return False
        return True

    async def _close(self) -> None:
        code = WSCloseCode.GOING_AWAY if self.stopping else WSCloseCode.OK
        try:
            async with asyncio.timeout(_CLOSING):
                await self.socket.close(code=code, message=b"the server stops" if self.stopping else b"")
        except (TimeoutError, ConnectionError):
            self.transport.abort()

    async def _end(self) -> None:
        """Close the connection, and drop what its client did not read."""
        await self._close()
        if self.transport.get_write_buffer_size():
            self.transport.abort()


def reply_of(planned: Planned, session: Session) -> dict[str, Any]:
    """The reply of a plan: arrays have the chunk's steps as their first axis, which `ActionChunkBroker` relies on."""
    chunk = planned.chunk
    reply: dict[str, Any] = {"actions": planned.actions.cpu().numpy()}
    if session.served.sends_controllers:
        laws = {"actions": chunk.actions, "states": chunk.states, "gains": chunk.gains}
        names = laws if session.served.has_gains else ("actions",)
        reply["controllers"] = {name: laws[name].cpu().numpy() for name in names}
    if planned.action is not None:
        reply["action"] = [float(value) for value in planned.action]
    if planned.warnings:
        reply["warnings"] = planned.warnings
    return reply
