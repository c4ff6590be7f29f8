"""Headers of the objects in an HDF5 file, as far as they refer to global heaps, read without the library.

The library follows such a reference when it reads an attribute, and for virtual arrays already when it opens them. A
header is a list of messages (HDF5 File Format Specification, version 3.0, section IV.A):

    version 1    version, 0, number of messages, count, size in 4 bytes each; 4 of padding; messages of 8 bytes and data
    version 2    "OHDR", 2, flags, optional fields by the flags, size; messages of 4 or 6 bytes and data; a checksum

A message of kind 16 leads to a further block of messages. References have 16 bytes: length, address of the heap in 8,
index. Whatever here is not of these forms raises `Unknown`.
"""

import struct
from collections.abc import Callable, Iterator

Reads = Callable[[int, int], bytes]
Message = tuple[int, int, bytes]
"""Kind, flags, data."""

FILL_OLD, FILL, LAYOUT, ATTRIBUTE, CONTINUATION, ATTRIBUTES = 4, 5, 8, 12, 16, 21
SHARED, NOWHERE = 2, (1 << 64) - 1
LARGEST, MOST = 1 << 24, 1000
# classes of layouts and of datatypes that can hold references: compact, virtual; compound, variable length, array
WITH_REFERENCES, COMPOSED = {0, 3}, {6, 9, 10}
REFERENCE = 16


class Unknown(Exception):
    """A header in a form that is not read here."""


def references(read: Callable[[int, int], bytes], base: int, address: int, size: int) -> set[int]:
    """Addresses in the header of an object that can be those of heaps.

    Args:
        read: Bytes of the file: count, place.
        base: Place of address 0.
        address: Address of the object.
        size: Size of the file in bytes.

    Raises:
        Unknown: The header has a form that is not read here, or its attributes lie elsewhere.
    """
    try:
        parts = [data for message in _messages(read, base, address) if (data := _with_references(*message))]
        return {at for data in parts for at in _addresses(data, size)}
    except (struct.error, IndexError) as error:
        raise Unknown(str(error)) from error


def _messages(read: Reads, base: int, address: int) -> Iterator[Message]:
    start = read(512, base + address)
    new = start[:4] == b"OHDR"
    first, length, sizes = _start_2(start) if new else _start_1(start)
    if length > LARGEST:
        raise Unknown("a long header")
    blocks = [start[first : first + length] if first + length <= len(start) else read(length, base + address + first)]
    for number, block in enumerate(blocks):
        for kind, flags, data in _in_block(block, new, sizes):
            if kind == CONTINUATION:
                place, more = struct.unpack_from("<QQ", data)
                if number > MOST or more > LARGEST:
                    raise Unknown("many blocks")
                # the blocks of version 2 have a signature and a checksum
                blocks.append(read(more, base + place)[4:-4] if new else read(more, base + place))
            yield kind, flags, data


def _start_1(start: bytes) -> tuple[int, int, int]:
    """Place and length of the messages, and the length of the head of each."""
    if start[0] != 1:
        raise Unknown("another version")
    return 16, int.from_bytes(start[8:12], "little"), 8


def _start_2(start: bytes) -> tuple[int, int, int]:
    flags = start[5]
    first = 6 + (16 if flags & 32 else 0) + (4 if flags & 16 else 0)
    width = 1 << (flags & 3)
    return first + width, int.from_bytes(start[first : first + width], "little"), 6 if flags & 4 else 4


def _in_block(block: bytes, new: bool, head: int) -> Iterator[Message]:
    place = 0
    while place + head <= len(block):
        kind, length, flags = struct.unpack_from("<BHB" if new else "<HHB", block, place)
        if place + head + length > len(block):
            raise Unknown("a message that does not end in its block")
        yield kind, flags, block[place + head : place + head + length]
        place += head + length


def _with_references(kind: int, flags: int, data: bytes) -> bytes | None:
    """The data of a message if they can hold references."""
    if kind == ATTRIBUTES:
        place = 4 if data[1] & 1 else 2
        if int.from_bytes(data[place : place + 8], "little") != NOWHERE:
            raise Unknown("many attributes")
        return None
    if kind in (FILL_OLD, FILL, LAYOUT, ATTRIBUTE) and flags & SHARED:
        raise Unknown("a shared message")
    if kind in (FILL_OLD, FILL):
        return data
    if kind == LAYOUT:
        # before version 3 the class comes after the number of dimensions
        return data if data[1 if data[0] >= 3 else 2] in WITH_REFERENCES else None
    return data if kind == ATTRIBUTE and _is_composed(data) else None


def _is_composed(data: bytes) -> bool:
    """Whether the datatype of an attribute can hold references."""
    version, flags, name, datatype, _ = struct.unpack_from("<BBHHH", data)
    if flags & 1:
        return True  # a datatype that lies elsewhere
    first = 8 + (version >= 3) + (-(-name // 8) * 8 if version == 1 else name)
    return bool(datatype) and data[first] & 15 in COMPOSED


def _addresses(data: bytes, size: int) -> Iterator[int]:
    # a virtual array has its reference, without a length, almost at the beginning
    data = bytes(4) + data
    for place in range(len(data) - REFERENCE + 1):
        _, address, index = struct.unpack_from("<IQI", data, place)
        if 0 < address < size and 0 < index <= 0xFFFF:
            yield address
