"""Connections and frames of strangers, made at random from a seed, and a well-behaved client beside them.

Each stranger is one connection: some send half a request, some open a session and send a frame that is wrong in one
way, some read nothing. None of them waits for the server's good will: all have deadlines of their own.
"""

import random
import socket
import time
from contextlib import suppress

import numpy as np

from holdfast.serve.wire import pack

SEEN = {"observation.state": np.array([0.1, -0.2, 0.3])}
GOOD = pack(SEEN)
ARRAY = {b"__ndarray__": True, b"data": bytes(24), b"dtype": "<f8", b"shape": [3]}


def upgrade(port):
    """The request of a websocket."""
    lines = (
        "GET / HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def framed(data, *, announced=None, first=0x82, masked=True):
    """A frame with a mask of zeros, whose header may announce another length."""
    length = len(data) if announced is None else announced
    return bytes([first, 0xFF if masked else 0x7F]) + length.to_bytes(8, "big") + bytes(4 * masked) + data


def msgpack_of(value):
    import msgpack

    return msgpack.packb(value)


def array(rng, **changed):
    """A message with one array, some of whose parts are changed."""
    return msgpack_of({"observation.state": {**ARRAY, **{name.encode(): value for name, value in changed.items()}}})


FRAMES = {
    "truncated": lambda rng: framed(GOOD[: rng.randrange(len(GOOD))]),
    "changed bytes": lambda rng: framed(changed(rng, GOOD)),
    "random bytes": lambda rng: framed(rng.randbytes(rng.randrange(2000))),
    "wrong type": lambda rng: framed(msgpack_of(rng.choice([1, "a", None, [1, 2], {"observation.state": {"a": "b"}}]))),
    "wrong shape": lambda rng: framed(array(rng, shape=[rng.randrange(-5, 5) for _ in range(rng.randrange(6))])),
    "shape of a terabyte": lambda rng: framed(array(rng, shape=[2**40])),
    "objects": lambda rng: framed(array(rng, dtype=rng.choice(["|O", "|V8", "<c16", "<M8[ns]", "O" * 1000]))),
    "other sizes": lambda rng: framed(pack({"observation.state": np.zeros(rng.randrange(1, 900))})),
    "NaN": lambda rng: framed(pack({"observation.state": np.full(3, rng.choice([np.nan, np.inf, -np.inf]))})),
    "huge numbers": lambda rng: framed(pack({"observation.state": np.full(3, 1e300)})),
    "other names": lambda rng: framed(pack({f"name {rng.random()}": 1.0, "y" * rng.randrange(3000): [1.0]})),
    "list of four billion": lambda rng: framed(b"\x81\xa1a\xdd\xff\xff\xff\xff" + rng.randbytes(50)),
    "map of four billion": lambda rng: framed(b"\xdf\xff\xff\xff\xff" + rng.randbytes(50)),
    "deep": lambda rng: framed(rng.choice([b"\x91", b"\x81\xa1a"]) * rng.randrange(10, 20_000)),
    "many empty lists": lambda rng: framed(b"\x81\xa1a" + b"\xdc\x04\x00" * rng.randrange(10, 2000)),
    "extension": lambda rng: framed(b"\x81\xa1a\xc9\x00\x00\x00\x02\x05ab"),
    "a gigabyte announced": lambda rng: framed(rng.randbytes(100), announced=2**30),
    "more than there is": lambda rng: framed(b"", announced=rng.choice([2**63 - 1, 2**64 - 1])),
    "never finished": lambda rng: framed(GOOD, announced=len(GOOD) + 10),
    "fragments without an end": lambda rng: framed(GOOD, first=0x02) + framed(rng.randbytes(60_000), first=0x00) * 3,
    "a fragment without a beginning": lambda rng: framed(GOOD, first=0x80),
    "not masked": lambda rng: framed(GOOD, masked=False),
    "reserved bits": lambda rng: framed(GOOD, first=0x82 | rng.choice([0x10, 0x20, 0x40])),
    "text": lambda rng: framed(b"\xff\xfe hello", first=0x81),
    "a long ping": lambda rng: framed(bytes(500), first=0x89),
    "many pings": lambda rng: b"\x89\x80\x00\x00\x00\x00" * rng.randrange(1, 500),
    "odd close": lambda rng: framed(rng.randbytes(2), first=0x88),
    "two at once": lambda rng: framed(GOOD) * 20,
}
REQUESTS = {
    "silent": lambda rng, port: b"",
    "half a handshake": lambda rng, port: upgrade(port)[: rng.randrange(1, 100)],
    "header bomb": lambda rng, port: b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * rng.randrange(100, 20_000),
    "long header": lambda rng, port: b"GET / HTTP/1.1\r\nA: " + b"b" * rng.randrange(5000, 200_000),
    "body of a gigabyte": lambda rng, port: (
        b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741824\r\n\r\n" * 2
    ),
    "no HTTP": lambda rng, port: rng.randbytes(rng.randrange(1, 3000)),
    "other path": lambda rng, port: b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
}


def changed(rng, data):
    """Bytes of which a few are others."""
    given = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        given[rng.randrange(len(given))] = rng.randrange(256)
    return bytes(given)


def stranger(rng, port):
    """One hostile connection; returns its kind and its socket, which may still be open."""
    opened = socket.create_connection(("127.0.0.1", port), timeout=5)
    kind = rng.choice([*FRAMES, *REQUESTS, "slow reader"])
    with suppress(OSError):  # the server may have ended it already
        if kind in REQUESTS:
            opened.sendall(REQUESTS[kind](rng, port))
        else:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            opened.sendall(upgrade(port))
            opened.settimeout(0.2)
            opened.sendall(framed(GOOD) * 2000 if kind == "slow reader" else FRAMES[kind](rng))
    return kind, opened


def attack(port, count, *, seed, meanwhile, most_open=200):
    """Many strangers, with a call between them; most stay open until later ones take their place.

    Returns the number of strangers of each kind and the longest time of a call [s].
    """
    rng, opened, kinds, longest = random.Random(seed), [], {}, 0.0
    for number in range(count):
        kind, one = stranger(rng, port)
        kinds[kind] = kinds.get(kind, 0) + 1
        opened.append(one)
        if len(opened) > most_open:
            opened.pop(rng.randrange(len(opened))).close()
        if number % 20 == 0:
            begun = time.monotonic()
            meanwhile()
            longest = max(longest, time.monotonic() - begun)
    for one in opened:
        one.close()
    return kinds, longest
