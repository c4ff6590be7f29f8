"""What an HDF5 file can name outside itself, refused before it is opened.

external link            a name that leads into another file
external storage         an array whose numbers are any file of this machine, as they lie there
virtual array            an array put together from other files
filter by a plug-in      a number for which HDF5 loads a library
"""

import math
import sys
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..memory import check_memory
from .hdf5_heaps import check_heaps, check_strings

# deflate, shuffle, fletcher32, szip, nbit, scaleoffset; and lzf, which h5py brings along
FILTERS = {1, 2, 3, 4, 5, 6, 32000}
# what incompressible numbers may take beyond their own size
SLACK = 1 << 16
NUMBERS = "fiub"

_sound = dict[Path, tuple[int, int, int]]()


def check_links(file: Any, path: Path) -> None:
    """Refuse a file in which a name leads into another file, or whose strings have no end.

    A file that was accepted before is not walked again.

    Args:
        file: The open file of h5py.
        path: Its place.

    Raises:
        DataError: The message names the link, or the file is damaged.
    """
    state = path.stat()
    stamp = state.st_ino, state.st_size, state.st_mtime_ns
    if _sound.get(path) == stamp:
        return
    h5l = _h5py().h5l
    hard, inside = h5l.TYPE_HARD, (h5l.TYPE_HARD, h5l.TYPE_SOFT)
    addresses = [_h5py().h5o.get_info(file.id).addr]

    def leads_out(name: bytes, link: Any) -> bytes | None:
        if link.type == hard:
            addresses.append(link.u)
        return None if link.type in inside else name

    try:
        found = file.id.links.visit(leads_out, info=True)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is damaged (the name of a link: {error}). Copy or download it again.") from error
    if found is not None:
        raise DataError(
            f"{path}: {found.decode(errors='replace')} is a link out of the file, so it is not followed. Copy what it "
            "names into the file: h5copy, or file.copy of h5py."
        )
    check_heaps(file, path, addresses)
    _sound[path] = stamp


def check_array(handle: Any, where: str, *, kinds: str = NUMBERS) -> None:
    """Refuse an array whose values are not in the file itself, are no plain numbers, or exceed the memory.

    Args:
        handle: The array's handle in h5py, `dataset.id`; nothing of the array was read yet.
        where: Name of the file and the array, for the messages.
        kinds: Accepted kinds of dtypes.

    Raises:
        DataError: The message says which.
    """
    made = check_storage(handle, where)
    shape, dtype = handle.shape, handle.dtype
    if shape is None or dtype.kind not in kinds:
        raise DataError(f"{where} holds no rows of numbers (shape {shape and list(shape)}, {dtype}).")
    size = math.prod(shape) * dtype.itemsize
    check_memory(size, where)
    _check_size(handle, made, size, where)


def check_storage(handle: Any, where: str) -> Any:
    """Refuse an array whose values are not in the file itself, or need a plug-in; returns how it was created."""
    made = handle.get_create_plist()
    if made.get_layout() == _h5py().h5d.VIRTUAL or made.get_external_count():
        raise DataError(
            f"{where} has its values in another file, which is not opened. Copy them into this file with a program "
            "that you trust."
        )
    needed = {made.get_filter(index)[0] for index in range(made.get_nfilters())} - FILTERS
    # whoever imported the plug-ins of this package wants them
    if needed and "hdf5plugin" not in sys.modules:
        raise DataError(
            f"{where} is compressed by a plug-in of HDF5 (number {min(needed)}), which is not loaded. Write the array "
            "again with gzip (h5repack -f GZIP=4 IN OUT), or, in Python, import hdf5plugin before reading."
        )
    return made


def check_bytes(entry: Any, path: Path, where: str) -> None:
    """Refuse an array that holds neither bytes nor rows of bytes, such as references, which would be followed."""
    check_strings(entry, path)
    inner = _h5py().check_vlen_dtype(entry.dtype) or entry.dtype
    if str(inner) != "uint8":
        raise DataError(f"{where} holds {entry.dtype}, expected bytes of pictures. Write the file again.")
    check_memory(math.prod(entry.shape) * entry.dtype.itemsize, where)


def _check_size(handle: Any, made: Any, size: int, where: str) -> None:
    """Refuse more stored bytes than the array can have, which would unpack to any size."""
    held = size
    if made.get_layout() == _h5py().h5d.CHUNKED:
        chunks = made.get_chunk()
        chunk = math.prod(chunks) * handle.dtype.itemsize
        check_memory(chunk, f"{where}, a chunk")
        count = math.prod(-(-length // part) for length, part in zip(handle.shape, chunks, strict=True))
        held = count * (chunk + chunk // 64 + SLACK)
    if (there := handle.get_storage_size()) > held + SLACK:
        raise DataError(f"{where} is damaged ({there} bytes are stored for {size}). Copy or download the file again.")


def _h5py() -> Any:
    import h5py  # slow to import, and without types  # pyright: ignore[reportMissingTypeStubs]

    return h5py
