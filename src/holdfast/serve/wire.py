"""openpi's messages: msgpack maps with NumPy arrays, read within limits.

    array    {b"__ndarray__": true, b"data": bytes in C order, b"dtype": "<f4", b"shape": [2, 3]}
    scalar   {b"__npgeneric__": true, b"data": 0.5, b"dtype": "<f4"}

A message comes from anybody, so nothing in it is believed: dtypes are those of a closed list, an array's shape must fit
its bytes, lists and maps are short, and the nesting is shallow. Nothing is executed; arrays of objects do not exist.
Format: openpi (Physical Intelligence), `openpi_client/msgpack_numpy.py`.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, InterfaceError, MissingExtraError

try:
    import msgpack  # pyright: ignore[reportMissingTypeStubs]
except ModuleNotFoundError as absent:
    raise MissingExtraError("msgpack", extra="serve") from absent

_MSGPACK: Any = msgpack

OPTIONS = "holdfast"
"""Key of what openpi's protocol does not have."""
BUSY = "the server is busy"
"""Beginning of the refusal after which a client may ask again."""

MOST_KEYS = 256
"""Largest number of keys of a map."""
MOST_ITEMS = 1024
"""Largest number of items of a list; longer ones come as arrays."""
MOST_DEPTH = 6
"""Largest number of maps and lists inside one another."""
MOST_AXES = 4
"""Largest number of axes of an array: pictures of several steps have four."""

_ORDERED = tuple(f"{order}{kind}" for order in "<>" for kind in ("u2", "u4", "u8", "i2", "i4", "i8", "f2", "f4", "f8"))
DTYPES = frozenset(("|b1", "|u1", "|i1", *_ORDERED))
"""Types of numbers that are read."""

_ARRAY, _SCALAR = b"__ndarray__", b"__npgeneric__"


def pack(message: Mapping[str, Any]) -> bytes:
    """The bytes of a message.

    >>> pack({"s": np.zeros(1, dtype=np.float32)}).hex()[:30]
    '81a17384c40b5f5f6e646172726179'
    """
    return cast(bytes, _MSGPACK.packb(dict(message), default=_packed))


def unpack(data: bytes) -> dict[str, Any]:
    """The message of some bytes: a map from text to arrays, numbers, text, lists and maps.

    Raises:
        DataError: The bytes are no such message, or exceed a limit.

    >>> unpack(pack({"a/b": np.ones((1, 2)), "c": [1, 2.5, "d"]}))
    {'a/b': array([[1., 1.]]), 'c': [1, 2.5, 'd']}
    """
    try:
        found: Any = _MSGPACK.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_str_len=len(data),
            max_bin_len=len(data),
            max_array_len=MOST_ITEMS,
            max_map_len=MOST_KEYS,
            max_ext_len=0,
        )
    # its errors are of many classes, also those of the interpreter for text that is not UTF-8 and for deep nesting
    except Exception as error:
        raise DataError(
            f"expected a message of msgpack with at most {MOST_ITEMS} items in a list and {MOST_KEYS} keys in a map, "
            f"got {len(data)} bytes that are none ({str(error) or type(error).__name__:.200})."
        ) from error
    if not isinstance(found, dict) or _ARRAY in found or _SCALAR in found:
        raise DataError("expected a map of names and numbers, got a message that is a single value.")
    return cast("dict[str, Any]", _read(found, "the message", MOST_DEPTH))


def flat(message: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Values by name, with a dot between the names of nested maps and for openpi's slash.

    Raises:
        InterfaceError: A name is given twice.

    >>> flat({"observation/state": 1, "observation": {"environment_state": 2}})
    {'observation.state': 1, 'observation.environment_state': 2}
    """
    found = dict[str, Any]()
    for name, value in message.items():
        place = f"{before}{name}".replace("/", ".")
        inner = flat(cast("Mapping[str, Any]", value), f"{place}.") if isinstance(value, Mapping) else {place: value}
        if twice := sorted(found.keys() & inner.keys()):
            raise InterfaceError(f"the observation holds {', '.join(twice):.200} twice. Give each name once.")
        found |= inner
    return found


def _packed(value: Any) -> dict[bytes, Any]:
    """What msgpack cannot pack by itself, in openpi's form."""
    dtype: Any = getattr(value, "dtype", None)
    name = str(getattr(dtype, "str", ""))
    if isinstance(value, np.generic) and name in DTYPES:
        return {_SCALAR: True, b"data": cast(Any, value).item(), b"dtype": name}
    if isinstance(value, np.ndarray) and name in DTYPES:
        array = cast("NDArray[Any]", value)
        return {_ARRAY: True, b"data": array.tobytes(), b"dtype": name, b"shape": array.shape}
    raise DataError(f"expected numbers, text, lists and maps in a message, got {value!r:.80}.")


def _read(node: Any, place: str, depth: int) -> Any:
    """A value as it is used, with everything else refused; `depth` is how much nesting is left."""
    if depth == 0:
        raise DataError(f"the message is nested more than {MOST_DEPTH} levels deep. Send a flat map.")
    if isinstance(node, dict):
        return _read_map(cast("dict[Any, Any]", node), place, depth)
    if isinstance(node, list):
        return [_read(item, place, depth - 1) for item in cast("list[Any]", node)]
    if node is None or isinstance(node, str | bool | int | float):
        return node
    raise DataError(f"expected numbers, text, lists or maps in {place}, got {type(node).__name__}.")


def _read_map(node: dict[Any, Any], place: str, depth: int) -> Any:
    if _ARRAY in node:
        return _array(node, place)
    if _SCALAR in node:
        return _scalar(node, place)
    if wrong := next((key for key in node if not isinstance(key, str)), None):
        raise DataError(f"expected text as the keys of {place}, got {wrong!r:.80}.")
    return {key: _read(value, f"{key:.80}", depth - 1) for key, value in node.items()}


def _array(node: dict[Any, Any], place: str) -> NDArray[Any]:
    data, shape, dtype = node.get(b"data"), node.get(b"shape"), _dtype(node, place)
    if not isinstance(data, bytes) or not _is_shape(shape):
        raise DataError(
            f"expected {place} as an array with bytes and a shape of at most {MOST_AXES} axes, got "
            f"{type(data).__name__} and the shape {shape!r:.80}."
        )
    needed = math.prod(cast("list[int]", shape)) * dtype.itemsize
    if needed != len(data):
        raise DataError(
            f"expected {needed} bytes for {place}, an array of shape {shape!r:.80} of {dtype}, got {len(data)}."
        )
    return np.frombuffer(data, dtype=dtype).reshape(cast("list[int]", shape))


def _is_shape(shape: Any) -> bool:
    sizes = cast("list[Any]", shape) if isinstance(shape, list) else [None]
    # sizes are bounded one by one, since 0 times anything fits no bytes
    return len(sizes) <= MOST_AXES and all(type(size) is int and 0 <= size < 2**31 for size in sizes)


def _scalar(node: dict[Any, Any], place: str) -> int | float | bool:
    _dtype(node, place)
    value = node.get(b"data")
    if not isinstance(value, bool | int | float):
        raise DataError(f"expected a number as {place}, got {type(value).__name__}.")
    return value


def _dtype(node: dict[Any, Any], place: str) -> np.dtype[Any]:
    name = node.get(b"dtype")
    if not isinstance(name, str) or name not in DTYPES:
        raise DataError(f"expected {place} as real numbers, with a dtype such as '<f4', got the dtype {name!r:.80}.")
    return np.dtype(name)
