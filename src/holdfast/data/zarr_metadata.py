"""The metadata of a zarr store, checked before zarr reads them: no codec, dtype or grid that is not known to be safe.

zarr looks up by name whatever its metadata mention, among all that is installed: the codec `pickle` runs the code in a
chunk, others build objects of any class. So every `.zarray`, `.zmetadata` and `zarr.json` is read here first, as JSON,
and compared with closed lists.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from ..errors import DataError
from ..files import as_object, parse_json, shown

ARRAY, CONSOLIDATED, NODE = ".zarray", ".zmetadata", "zarr.json"
HEADERS = (ARRAY, ".zgroup", ".zattrs", CONSOLIDATED, NODE)

# names in format 2, and after `numcodecs.` in format 3; each turns bytes or numbers into bytes or numbers
CODECS = frozenset(
    [
        "blosc",
        "zstd",
        "lz4",
        "zlib",
        "gzip",
        "bz2",
        "shuffle",
        "delta",
        "fixedscaleoffset",
        "quantize",
        "bitround",
        "packbits",
        "astype",
        "crc32",
        "crc32c",
        "adler32",
        "fletcher32",
        "jenkins_lookup3",
        "vlen-utf8",
        "vlen-bytes",
    ]
)
SHARDS = "sharding_indexed"
CODECS_3 = frozenset(
    ["bytes", "endian", "blosc", "zstd", "gzip", "crc32c", "transpose", SHARDS, "vlen-utf8", "vlen-bytes"]
)
# pictures of some replay buffers; used if the running program itself has registered it
PICTURES = re.compile(r"imagecodecs_\w+")
SIMPLE = re.compile(r"[<>|=]?([biufc]\d{1,2}|[US]\d{1,6}|[mM]8(\[\d*\w{1,2}\])?)|\|O")
NUMBERS = re.compile(r"[<>|=]?[biuf]\d{1,2}|(bool|u?int|float)\d*")
DTYPES_3 = frozenset(
    [
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "float32",
        "float64",
        "complex64",
        "complex128",
        "string",
        "bytes",
        "variable_length_utf8",
        "variable_length_bytes",
        "fixed_length_utf32",
        "null_terminated_bytes",
        "raw_bytes",
        "numpy.datetime64",
        "numpy.timedelta64",
    ]
)
GRIDS, KEYS = frozenset({"regular"}), frozenset({"default", "v2"})


def check_header(path: Path, place: str, content: bytes) -> None:
    """Refuse metadata that mention what is not in the closed lists.

    Args:
        path: The store.
        place: Path of the metadata in it; the name of the file is one of `HEADERS`.
        content: Their content.

    Raises:
        DataError: The message names the codec, dtype or grid; or the metadata are damaged.
    """
    name, source = place.rpartition("/")[2], f"{path}: {place}"
    try:
        header = as_object(parse_json(content, place), place)
    except DataError as error:
        raise DataError(f"{path} is damaged ({error.__cause__ or error}, in {place}). Copy it again.") from error
    match name:
        case ".zarray":
            _check_array_2(header, source)
        case ".zmetadata":
            for place, part in _object(header, "metadata", source).items():
                if place.endswith(ARRAY):
                    _check_array_2(as_object(part, f"{source}: {place}"), f"{source}: {place}")
        case "zarr.json":
            _check_node_3(header, source)
        case _:
            return


def _check_node_3(header: Mapping[str, Any], source: str) -> None:
    if header.get("consolidated_metadata") is not None:
        inner = _object(_object(header, "consolidated_metadata", source), "metadata", source)
        for place, part in inner.items():
            _check_node_3(as_object(part, f"{source}: {place}"), f"{source}: {place}")
    if header.get("node_type") != "array":
        return
    _check_shape(header.get("shape"), source)
    _check_name("dtype", _name(header.get("data_type")), DTYPES_3, source)
    _check_name("grid of chunks", _name(header.get("chunk_grid")), GRIDS, source)
    _check_name("names of chunks", _name(header.get("chunk_key_encoding", "default")), KEYS, source)
    for transformer in _list(header, "storage_transformers", source):
        _check_name("transformer", _name(transformer), (), source)
    codecs = _list(header, "codecs", source)
    _check_codecs_3(codecs, source)
    _check_shards(codecs, source)


def _check_shards(codecs: list[Any], source: str) -> None:
    """Refuse shards in shards, compressed shards, and an index in another form: their chunks cannot be checked."""
    if SHARDS not in map(_name, codecs):
        return
    options = as_object(as_object(codecs[0], source).get("configuration"), f"{source}: codec {SHARDS}")
    inner, index = (list(map(_name, _list(options, part, source))) for part in ("codecs", "index_codecs"))
    plain = [codec for codec in _list(options, "index_codecs", source) if _name(codec) == "bytes"]
    little = all(
        as_object(as_object(c, source).get("configuration", {}), source).get("endian") == "little" for c in plain
    )
    if len(codecs) > 1 or SHARDS in inner or index not in (["bytes"], ["bytes", "crc32c"]) or not little:
        raise DataError(
            f"{source}: shards in shards, shards that are compressed as a whole, and an index that is compressed or "
            "big-endian are not read. Write the array again with one level of shards, or without: shards=None."
        )


def _check_codecs_3(codecs: Iterable[Any], source: str) -> None:
    for codec in codecs:
        name = _name(codec)
        prefix, _, inner = name.partition("numcodecs.")
        known = CODECS if inner and not prefix else CODECS_3
        _check_name("codec", inner if known is CODECS else name, known, source)
        options = cast("dict[str, Any]", codec).get("configuration") if isinstance(codec, dict) else None
        if options is not None:
            _check_options(as_object(options, f"{source}: codec {name}"), source)
            for part in ("codecs", "index_codecs") if name == SHARDS else ():
                _check_codecs_3(_list(cast("dict[str, Any]", options), part, source), source)


def _check_array_2(header: Mapping[str, Any], source: str) -> None:
    _check_shape(header.get("shape"), source)
    _check_shape(header.get("chunks"), source, least=1)
    dtype = header.get("dtype")
    if not isinstance(dtype, str) or not SIMPLE.fullmatch(dtype):
        raise DataError(f"{source}: the dtype {shown(dtype)} is not read. Store plain numbers or strings.")
    filters = _list(header, "filters", source)
    for codec in [*filters, *([] if header.get("compressor") is None else [header["compressor"]])]:
        options = as_object(codec, f"{source}: a codec")
        name = str(options.get("id"))
        if PICTURES.fullmatch(name) and not _is_registered(name):
            raise DataError(
                f"{source}: the codec {name} is not read, because zarr would run what a file names, and no program has "
                "registered it. If you trust it, install imagecodecs and convert the data in Python: from "
                "imagecodecs.numcodecs import register_codecs; register_codecs(); holdfast.read, holdfast.write."
            )
        if not PICTURES.fullmatch(name):
            _check_name("codec", name, CODECS, source)
            _check_options(options, source)


def _check_options(options: Mapping[str, Any], source: str) -> None:
    """Dtypes among the options of a codec must be simple, too."""
    for name, value in options.items():
        if "dtype" in name and (
            not isinstance(value, str) or not re.fullmatch(r"[<>|=]?[biuf]\d{1,2}|[a-z]+\d*", value)
        ):
            raise DataError(f"{source}: a codec has the {name} {shown(value)}, which is not read. Give plain numbers.")


def _check_name(kind: str, name: str, known: Iterable[str], source: str) -> None:
    if name not in known:
        raise DataError(
            f"{source}: the {kind} {shown(name)} is not read, because zarr would run what a file names. Known: "
            f"{', '.join(sorted(known)) or 'none'}. Write the array again with one of them."
        )


def _check_shape(shape: Any, source: str, *, least: int = 0) -> None:
    whole = isinstance(shape, list) and all(
        isinstance(length, int) and not isinstance(length, bool) and least <= length < 1 << 62
        for length in cast("list[Any]", shape)
    )
    if not whole:
        raise DataError(f"{source} is damaged (a shape of {shown(shape)}). Copy or download it again.")


def _name(value: Any) -> str:
    """The name of a named object of format 3: itself, or its field `name`."""
    if isinstance(value, dict):
        return str(cast("dict[str, Any]", value).get("name"))
    return value if isinstance(value, str) else shown(value)


def _list(header: Mapping[str, Any], name: str, source: str) -> list[Any]:
    found = header.get(name)
    if found is not None and not isinstance(found, list):
        raise DataError(f"{source} is damaged ({name} is {shown(found)}). Copy or download it again.")
    return cast("list[Any]", found) or []


def _object(header: Mapping[str, Any], name: str, source: str) -> dict[str, Any]:
    return as_object(header.get(name), f"{source}: {name}")


def _is_registered(name: str) -> bool:
    """Whether the running program has registered a codec itself; an installed one is not loaded for a file."""
    from numcodecs.registry import codec_registry  # pyright: ignore

    return name in cast("dict[str, Any]", codec_registry)
