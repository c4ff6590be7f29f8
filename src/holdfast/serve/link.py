"""Connection of a client: one reply for each message, and a new connection after every failure.

The socket lives in a thread of its own, which answers the server's pings while the robot's program computes or waits.
"""

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from ..errors import MissingExtraError
from .wire import unpack

try:
    import aiohttp
except ModuleNotFoundError as absent:
    raise MissingExtraError("aiohttp", extra="serve") from absent

T = TypeVar("T")
_HEARTBEAT = 20.0
_MOST_BYTES = 2**26


_MEANING = {
    200: ": this is no websocket of a policy server. Give ws://HOST:PORT alone",
    401: ": it expects its token, the content of its --token-file. Give it as token=…",
    403: ": it refuses the origin of the request",
    404: ": there is no policy server at this path. Give ws://HOST:PORT alone",
}
"""What refusals mean, by their HTTP status."""


class Broken(Exception):
    """The connection failed, or there is none; a new one may succeed."""


class Refused(Exception):
    """The server refused the connection, and will refuse the next one too."""


class Link:
    """One connection at a time.

    Args:
        url: Address of the server.
        headers: Headers of the first request.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.url, self.headers = url, dict(headers)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="holdfast client", daemon=True)
        self.thread.start()
        self.http: aiohttp.ClientSession | None = None
        self.socket: aiohttp.ClientWebSocketResponse | None = None
        self.reader: asyncio.Task[None] | None = None
        self.frames: asyncio.Queue[bytes | str | None] = asyncio.Queue()

    def connect(self, timeout: float) -> dict[str, Any]:
        """Connect anew; returns the server's metadata.

        Raises:
            Broken: The server cannot be reached, or does not send metadata in time.
            Refused: The server refused the token, or is no server of this protocol.
        """
        return self._wait(self._connect(), timeout)

    def ask(self, message: bytes, timeout: float) -> bytes | str:
        """The reply to a message.

        Raises:
            Broken: The connection failed, or the reply did not come in time.
        """
        return self._wait(self._ask(message), timeout)

    def drop(self) -> None:
        """End the connection: a late reply would be taken for that of the next message."""
        with suppress(Broken, Refused):
            self._wait(self._drop(), 2.0)

    def close(self) -> None:
        """End the connection and the thread."""
        if not self.loop.is_running():
            return
        self.drop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5.0)
        if not self.thread.is_alive():
            self.loop.close()

    def _wait(self, work: Coroutine[Any, Any, T], timeout: float) -> T:
        if not self.loop.is_running():
            work.close()
            raise Refused("this client was closed; make a new one")
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout), self.loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise
        except TimeoutError as error:
            raise Broken(f"no reply within {timeout:.3g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Broken(str(error) or type(error).__name__) from error

    async def _connect(self) -> dict[str, Any]:
        await self._drop()
        self.http = aiohttp.ClientSession()
        try:
            self.socket = await self.http.ws_connect(
                self.url, headers=self.headers, compress=0, heartbeat=_HEARTBEAT, max_msg_size=_MOST_BYTES
            )
        except aiohttp.WSServerHandshakeError as error:
            # too many sessions, and what proxies say while a server restarts
            kind = Broken if error.status in (429, 502, 503, 504) else Refused
            raise kind(
                f"the server answers with the HTTP status {error.status}{_MEANING.get(error.status, '')}"
            ) from error
        except aiohttp.ClientSSLError as error:
            raise Refused(
                f"no encrypted connection ({error}); holdfast serve itself speaks ws://, not wss://"
            ) from error
        self.frames = asyncio.Queue()
        self.reader = asyncio.create_task(self._read(self.socket, self.frames))
        first = await self._frame()
        if isinstance(first, str):
            raise Refused(f"the server answers with {first!r:.200}")
        return unpack(first)

    async def _ask(self, message: bytes) -> bytes | str:
        if self.socket is None or self.socket.closed:
            raise Broken("there is no connection")
        await self.socket.send_bytes(message)
        return await self._frame()

    async def _frame(self) -> bytes | str:
        frame = await self.frames.get()
        if frame is None:
            raise Broken("the server ended the connection")
        return frame

    async def _drop(self) -> None:
        if self.reader is not None:
            self.reader.cancel()
        if self.socket is not None:
            with suppress(Exception):
                async with asyncio.timeout(0.5):
                    await self.socket.close()
        if self.http is not None:
            await self.http.close()
        self.reader = self.socket = self.http = None

    @staticmethod
    async def _read(socket: aiohttp.ClientWebSocketResponse, frames: "asyncio.Queue[bytes | str | None]") -> None:
        """Hand on the frames, and answer pings meanwhile."""
        async for message in socket:
            if message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
                frames.put_nowait(message.data)
        frames.put_nowait(None)
