"""Ways to damage a file or a folder, each drawn from a random generator."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from numpy.random import Generator

STRANGE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    3,
    10**30,
    2**63,
    1e308,
    0.5,
    -1e-320,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../other",
    "/etc/passwd",
    "{episode_index:0>999999999}",
    [],
    {},
    [[]],
    [None],
    {"a": {"b": []}},
)


def damage(path: Path, rng: Generator) -> str:
    """Damage a set in place, once or twice.

    Returns:
        What was done.
    """
    return "; ".join(_once(path, rng) for _ in range(1 + int(rng.random() < 0.15)) if path.exists())


def _once(path: Path, rng: Generator) -> str:
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    if not files:
        return "nothing is left"
    file = files[rng.integers(len(files))]
    texts = [file for file in files if _as_json(file) is not None]
    kind = rng.random()
    if texts and kind < 0.35:
        file = texts[rng.integers(len(texts))]
        return f"{file.relative_to(path)}: {edit_json(file, rng)}"
    if path.is_dir() and kind < 0.5:
        change = MOVES[rng.integers(len(MOVES))]
        other = files[rng.integers(len(files))]
        return f"{file.relative_to(path)}, {other.relative_to(path)}: {change(file, other)}"
    change = BYTES[rng.integers(len(BYTES))]
    content, done = change(file.read_bytes(), rng)
    file.write_bytes(content)
    return f"{file.relative_to(path) if file != path else file.name}: {done}"


def _as_json(file: Path) -> Any:
    try:
        found = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


# Bytes ----------------------------------------------------------------------------------------------------------------


def _place(content: bytes, rng: Generator) -> int:
    return int(rng.integers(max(1, len(content))))


def flip(content: bytes, rng: Generator) -> tuple[bytes, str]:
    """Flip one bit."""
    if not content:
        return b"\0", "one byte of nothing"
    place, bit = _place(content, rng), int(rng.integers(8))
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    return bytes(changed), f"bit {bit} of byte {place}"


def overwrite(content: bytes, rng: Generator) -> tuple[bytes, str]:
    """Overwrite some bytes with random ones."""
    place, count = _place(content, rng), int(rng.integers(1, 65))
    return content[:place] + rng.bytes(count) + content[place + count :], f"{count} random bytes at {place}"


def blank(content: bytes, rng: Generator) -> tuple[bytes, str]:
    """Overwrite a block with zeros or ones, as a disk does that lost it."""
    place, count = _place(content, rng), int(2 ** rng.integers(2, 13))
    count = min(count, len(content) - place)
    fill = b"\0" if rng.random() < 0.7 else b"\xff"
    return content[:place] + fill * count + content[place + count :], f"{count} bytes {fill} at {place}"


def truncate(content: bytes, rng: Generator) -> tuple[bytes, str]:
    """Cut the end off."""
    keep = (0, _place(content, rng), max(0, len(content) - 1), len(content) // 2)[rng.integers(4)]
    return content[:keep], f"cut to {keep} of {len(content)} bytes"


def append(content: bytes, rng: Generator) -> tuple[bytes, str]:
    """Add bytes at the end."""
    count = int(rng.integers(1, 2000))
    return content + (rng.bytes(count) if rng.random() < 0.5 else content[:count]), f"{count} bytes appended"


def shift(content: bytes, rng: Generator) -> tuple[bytes, str]:
    """Insert or remove bytes in the middle."""
    place, count = _place(content, rng), int(rng.integers(1, 17))
    if rng.random() < 0.5:
        return content[:place] + rng.bytes(count) + content[place:], f"{count} bytes inserted at {place}"
    return content[:place] + content[place + count :], f"{count} bytes removed at {place}"


def repeat(content: bytes, rng: Generator) -> tuple[bytes, str]:
    """Copy one block over another, or exchange both."""
    count = int(2 ** rng.integers(3, 10))
    one, two = (8 * (_place(content, rng) // 8) for _ in range(2))
    changed = bytearray(content)
    first, second = content[one : one + count], content[two : two + count]
    if len(first) != len(second) or abs(one - two) < count:
        return flip(content, rng)
    changed[two : two + count] = first
    if exchange := rng.random() < 0.5:
        changed[one : one + count] = second
    return bytes(changed), f"{count} bytes at {one} {'exchanged with' if exchange else 'copied to'} {two}"


BYTES: tuple[Callable[[bytes, Generator], tuple[bytes, str]], ...] = (
    flip,
    flip,
    overwrite,
    blank,
    truncate,
    append,
    shift,
    repeat,
)

# Files ----------------------------------------------------------------------------------------------------------------


def _delete(file: Path, other: Path) -> str:
    file.unlink()
    return "the first deleted"


def _copy_over(file: Path, other: Path) -> str:
    other.write_bytes(file.read_bytes())
    return "the first copied over the second"


def _exchange(file: Path, other: Path) -> str:
    one, two = file.read_bytes(), other.read_bytes()
    file.write_bytes(two)
    other.write_bytes(one)
    return "exchanged"


def _rename(file: Path, other: Path) -> str:
    file.rename(file.with_name(f"{file.name}.1"))
    return "the first renamed"


def _move(file: Path, other: Path) -> str:
    file.rename(other)
    return "the first moved to the second"


def _folder(file: Path, other: Path) -> str:
    file.unlink()
    file.mkdir()
    return "the first is a folder now"


def _double(file: Path, other: Path) -> str:
    digits = [letter for letter in file.name if letter.isdigit()]
    name = file.name.replace(digits[-1], str((int(digits[-1]) + 1) % 10)) if digits else f"copy-{file.name}"
    shutil.copy(file, file.with_name(name))
    return f"the first copied to {name}"


def _remove_folder(file: Path, other: Path) -> str:
    shutil.rmtree(file.parent)
    return "the folder of the first deleted"


MOVES: tuple[Callable[[Path, Path], str], ...] = (
    _delete,
    _delete,
    _copy_over,
    _exchange,
    _rename,
    _move,
    _folder,
    _double,
    _remove_folder,
)

# JSON -----------------------------------------------------------------------------------------------------------------


def edit_json(file: Path, rng: Generator) -> str:
    """Change one value, one key or one list somewhere in a JSON file."""
    content = _as_json(file)
    if rng.random() < 0.05:
        file.write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
        return "nested 100,000 deep"
    places = list(_places(content))
    if not places:
        return "unchanged"
    inner, key = places[rng.integers(len(places))]
    done = _edit(inner, key, rng)
    file.write_text(json.dumps(content))
    return f"{key!r}: {done}"


def _places(content: Any) -> list[tuple[Any, Any]]:
    items: list[tuple[Any, Any]] = (
        list(cast("dict[str, Any]", content).items())
        if isinstance(content, dict)
        else list(enumerate(cast("list[Any]", content)))
        if isinstance(content, list)
        else []
    )
    return [(content, key) for key, _ in items] + [place for _, value in items for place in _places(value)]


def _edit(inner: Any, key: Any, rng: Generator) -> str:
    value = inner[key]
    match int(rng.integers(4)):
        case 0:
            del inner[key]
            return "removed"
        case 1 if isinstance(inner, dict):
            inner[f"{key}_"] = inner.pop(key)
            return "renamed"
        case 2:
            inner[key] = _near(value, rng)
            return f"{value!r:.40} became {inner[key]!r:.40}"
        case _:
            inner[key] = STRANGE[rng.integers(len(STRANGE))]
            return f"{value!r:.40} became {inner[key]!r:.40}"


def _near(value: Any, rng: Generator) -> Any:
    """Another value of the same type."""
    match value:
        case bool():
            return not value
        case int():
            return value + int(rng.integers(1, 4)) * (1 if rng.random() < 0.5 else -1)
        case float():
            return value * 2
        case str():
            return value[::-1] if value[::-1] != value else f"{value}z"
        case list() if len(cast("list[Any]", value)) > 1:
            return cast("list[Any]", value)[::-1] if rng.random() < 0.5 else cast("list[Any]", value)[1:]
        case _:
            return {"x": value}
