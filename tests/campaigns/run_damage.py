"""Ways to damage a run folder, each drawn from a random generator."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILES = (
    "recipe.json",
    "scale.json",
    "interface.json",
    "model.safetensors",
    "tokenizer.safetensors",
    "train_state/state.safetensors",
)

STRANGE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2, 3, 10**30, 2**63, 10**9, 1e308, 0.5, 1e-320, float("nan"), float("inf")),
    *("", "x", "gym:os:X-v0", "../other", [], {}, [[]], [None], {"a": {"b": []}}, {"kind": "Isotropic"}, [1.0]),
)


def damage(folder: Path, twin: Path, rng: random.Random) -> str:
    """Damage a run folder in place, and say how; `twin` is another run of the same sizes."""
    name = rng.choice([name for name in FILES if (folder / name).is_file()])
    file = folder / name
    kinds = [flip, flip, truncate, cut, append, swap, swap, move]
    how = rng.choice([edit] * 8 + kinds if name.endswith(".json") else kinds)
    return f"{name}: {how(file, twin / name, rng)}"


def flip(file: Path, twin: Path, rng: random.Random) -> str:
    """Flip one to three bits, half of them in the header."""
    content = bytearray(file.read_bytes())
    places = [rng.randrange(min(len(content), 600) if rng.random() < 0.5 else len(content)) for _ in range(3)]
    for place in places[: rng.randint(1, 3)]:
        content[place] ^= 1 << rng.randrange(8)
    file.write_bytes(content)
    return f"bits flipped at {places}"


def truncate(file: Path, twin: Path, rng: random.Random) -> str:
    """Keep the beginning."""
    content = file.read_bytes()
    kept = rng.randrange(len(content))
    file.write_bytes(content[:kept])
    return f"cut to {kept} of {len(content)} bytes"


def cut(file: Path, twin: Path, rng: random.Random) -> str:
    """Remove or blank some bytes in the middle."""
    content = file.read_bytes()
    start, count = rng.randrange(len(content)), rng.randint(1, 64)
    blank = b"\0" * count if rng.random() < 0.5 else b""
    file.write_bytes(content[:start] + blank + content[start + count :])
    return f"{count} bytes at {start} {'blanked' if blank else 'removed'}"


def append(file: Path, twin: Path, rng: random.Random) -> str:
    """Add bytes at the end."""
    file.write_bytes(file.read_bytes() + rng.randbytes(rng.randint(1, 32)))
    return "bytes appended"


def swap(file: Path, twin: Path, rng: random.Random) -> str:
    """Take the file of another run."""
    shutil.copyfile(twin, file)
    return "the file of another run"


def move(file: Path, twin: Path, rng: random.Random) -> str:
    """Remove a file, rename it, or put another one of the folder in its place."""
    others = [path for path in file.parent.iterdir() if path.is_file() and path != file]
    match rng.randrange(3):
        case 0:
            file.unlink()
        case 1:
            file.rename(file.with_name(file.name + ".old"))
        case _:
            shutil.copyfile(rng.choice(others or [twin]), file)
    return "removed, renamed or replaced"


def edit(file: Path, twin: Path, rng: random.Random) -> str:
    """Change, remove, rename or repeat one entry of a JSON file."""
    plain = json.loads(file.read_text())
    places = list(entries(plain))
    outer, key = rng.choice(places)
    kind = rng.choice(["strange", "strange", "strange", "nudge", "remove", "rename", "repeat"])
    value = outer[key]
    if kind == "nudge" and isinstance(value, int | float) and not isinstance(value, bool):
        outer[key] = value * 2 if isinstance(value, int) else value * 1.01 + 0.01
    elif kind == "remove":
        del outer[key]
    elif kind == "rename" and isinstance(key, str):
        outer[key + "_"] = outer.pop(key)
    else:
        outer[key] = rng.choice(STRANGE)
    text = json.dumps(plain)
    if kind == "repeat" and isinstance(key, str):
        text = json.dumps(json.loads(file.read_text()))
        text = text.replace(f'"{key}":', f'"{key}": {json.dumps(rng.choice(STRANGE))}, "{key}":', 1)
    file.write_text(text)
    return f"{kind} {key!r}"


def entries(plain: Any) -> Iterator[tuple[Any, Any]]:
    """All containers with their keys and indices, nested ones included."""
    keys = list(plain) if isinstance(plain, dict) else range(len(plain))
    for key in keys:
        yield plain, key
        if isinstance(plain[key], dict | list):
            yield from entries(plain[key])
