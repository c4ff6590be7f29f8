"""Run folders made by hand to do harm: every one is refused in words, within 6 GB, and runs nothing.

Where numbers are changed, the folder is sealed again, so that no digest refuses what a check must.
"""

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from holdfast.sealed import digest_of, header_of, sealed

HERE = Path(__file__).parent
spec = spec_from_file_location("test_run_folders", HERE / "test_run_folders.py")
assert spec is not None
assert spec.loader is not None
campaign = module_from_spec(spec)
spec.loader.exec_module(campaign)
runs = campaign.runs

WEIGHTS, TOKENIZER, STATE = "model.safetensors", "tokenizer.safetensors", "train_state/state.safetensors"


def seal(folder: Path, tensors: dict[str, torch.Tensor] | None = None) -> None:
    """Write the weights with the digests of what the folder holds now."""
    import hashlib

    about = {
        "policy": digest_of(json.loads((folder / "recipe.json").read_text())["policy"]),
        "scale": digest_of(json.loads((folder / "scale.json").read_text())),
    }
    if (folder / TOKENIZER).is_file():
        about["tokenizer"] = hashlib.sha256((folder / TOKENIZER).read_bytes()).hexdigest()
    weights = load_file(folder / WEIGHTS) if tensors is None else tensors
    (folder / WEIGHTS).write_bytes(sealed(weights, about))


def policy(place: str, value: Any) -> Callable[[Path], None]:
    """Set a field of the policy, at a dotted place; `...` removes it."""

    def build(folder: Path) -> None:
        plain = json.loads((folder / "recipe.json").read_text())
        *outer, last = place.split(".")
        part = plain["policy"]
        for key in outer:
            part = part[key]
        if value is ...:
            del part[last]
        else:
            part[last] = value
        (folder / "recipe.json").write_text(json.dumps(plain))
        seal(folder)

    return build


def scale(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Change the scales."""

    def build(folder: Path) -> None:
        plain = json.loads((folder / "scale.json").read_text())
        change(plain)
        (folder / "scale.json").write_text(json.dumps(plain))
        seal(folder)

    return build


def weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    """Change the weights."""

    def build(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        changed = change(tensors)
        seal(folder, changed if isinstance(changed, dict) else tensors)

    return build


def stored(name: str, about: dict[str, Any], change: Callable[[dict[str, torch.Tensor]], Any] = len) -> Any:
    """Change header and tensors of the tokenizer or the training state."""

    def build(folder: Path) -> None:
        header, tensors = header_of(folder / name), load_file(folder / name)
        header.pop("digest")
        change(tensors)
        (folder / name).write_bytes(sealed(tensors, header | about))
        seal(folder)

    return build


def content(name: str, made: bytes | str) -> Callable[[Path], None]:
    """Replace a file."""
    return lambda folder: (folder / name).write_bytes(made if isinstance(made, bytes) else made.encode()) and None


def pipe(name: str) -> Callable[[Path], None]:
    """Put a pipe, on which reading would wait forever, in place of a file."""

    def build(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return build


def link(name: str, target: str) -> Callable[[Path], None]:
    """Put a link in place of a file."""

    def build(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return build


def folder_in_place(name: str) -> Callable[[Path], None]:
    """Put a folder in place of a file."""

    def build(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return build


def text(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    """Change the text of a file."""
    return lambda folder: (folder / name).write_text(change((folder / name).read_text())) and None


def without_digest(folder: Path) -> None:
    """Weights as older versions wrote them, in a run of this version."""
    save_file(load_file(folder / WEIGHTS), folder / WEIGHTS)


def sparse(folder: Path) -> None:
    """Weights of a terabyte that take no space on the disk."""
    header = json.dumps({"x": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}).encode()
    with (folder / WEIGHTS).open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 2**40)


def fill(name: str, value: float) -> Callable[[dict[str, torch.Tensor]], None]:
    """Set one number of a tensor."""
    return lambda tensors: tensors[name].view(-1)[:1].fill_(value) and None


def first(tensors: dict[str, torch.Tensor]) -> str:
    """The first of the names."""
    return sorted(tensors)[0]


class Bomb:
    """A pickle that would write a file."""

    def __reduce__(self):
        return os.system, ("touch /tmp/holdfast_was_run",)


DEEP = "[" * 5000 + "]" * 5000
NAN, INF, BIG = float("nan"), float("inf"), 10**9

DIFFUSION: dict[str, Callable[[Path], None]] = {
    **{
        f"{name} of {value}": policy(name, value)
        for name, value in [
            ("model.network.widths", [BIG]),
            ("model.network.widths", [2**20] * 20),
            ("model.network.widths", []),
            ("model.network.widths", [24] * 100_000),
            ("model.network.embedding", BIG),
            ("model.network.embedding", 2**20),
            ("model.network.widths", "24"),
            ("model.network.widths", [24, 25]),
            ("model.network.activation", "tanh"),
            ("horizon", BIG),
            ("horizon", 65_000),
            ("horizon", 0),
            ("horizon", -8),
            ("horizon", 8.5),
            ("horizon", True),
            ("n_obs_steps", BIG),
            ("n_obs_steps", 0),
            ("n_obs_steps", 60_000),
            ("n_observed", BIG),
            ("n_observed", 7),
            ("n_states", BIG),
            ("n_states", -6),
            ("n_states", 5),
            ("n_actions", BIG),
            ("n_actions", 0),
            ("n_actions", 3),
            ("model.levels", 10**12),
            ("model.levels", 0),
            ("model.sampler.steps", BIG),
            ("model.sampler.steps", 21),
            ("model.sampler.steps", 0),
            ("model.sampler.eta", NAN),
            ("model.sampler.eta", 5.0),
            ("model.sampler.clip", 0.0),
            ("model.sampler.clip", INF),
            ("model.sampler.guidance", -1.0),
            ("model.sampler.order", True),
            ("execution.n_action_steps", 0),
            ("execution.n_action_steps", 9),
            ("execution.sigma_deploy", NAN),
            ("execution.sigma_deploy", INF),
            ("execution.sigma_deploy", -1.0),
            ("execution.clip_observation", NAN),
            ("execution.action_low", [0.0]),
            ("execution.action_low", [NAN, 0.0]),
            ("execution.action_high", [INF, 0.0]),
            ("execution.action_high", [1.0, 1.0, 1.0]),
            ("execution.on_nonfinite", "ignore"),
            ("execution.stream", True),
            ("execution.stream", 1),
            ("execution.ensemble", {"kind": "Ensemble", "decay": NAN}),
            ("execution.noise_law", {"kind": "PerCoordinate", "scales": [1.0]}),
            ("execution.noise_law", "gaussian"),
            ("execution.noise_law", {"kind": "Covariance", "rows": [[NAN]]}),
            ("execution.noise_law", {"kind": "os.system"}),
            ("execution.sigma", 0.5),
            ("execution", ...),
            ("execution", []),
            ("execution", None),
            ("execution", "fast"),
            ("kind", "Recipe"),
            ("model", None),
            ("model", ...),
            ("model.kind", "os.system"),
            ("model.kind", "Mip"),
            ("model.network.kind", ...),
            ("codec", {"kind": "pickle"}),
            ("codec", {"kind": "Actions"}),
            ("codec", ...),
            ("n_obs_steps", ...),
            ("horizon", 10**90),
        ]
    },
    "limits crossed": policy("execution", {"kind": "Execution", "action_low": [1.0, 1.0], "action_high": [0.0, 0.0]}),
    "deep recipe": text("recipe.json", lambda found: found.replace('"version"', f'"x": {DEEP}, "version"', 1)),
    "giant whole number": text("recipe.json", lambda found: found.replace('"seed": 0', f'"seed": {"9" * 5000}')),
    "whole number beyond floats": policy("execution.sigma_deploy", 10**95),
    "key twice": text("recipe.json", lambda found: found.replace('"horizon"', '"horizon": 4, "horizon"', 1)),
    "no version": text("recipe.json", lambda found: found.replace('"version"', '"revision"', 1)),
    "true as version": text("recipe.json", lambda found: found.replace('"version": 2', '"version": true', 1)),
    "later version": text("recipe.json", lambda found: found.replace('"version": 2', '"version": 99', 1)),
    "half a character": text("recipe.json", lambda found: found.replace('"kind"', '"\\ud800": 1, "kind"', 1)),
    "a list": content("recipe.json", "[]"),
    "no text": content("recipe.json", b"\xff\xfe\x00"),
    "policy of words": content("recipe.json", '{"version": 2, "policy": "fast"}'),
    "recipe is a pipe": pipe("recipe.json"),
    "recipe is a folder": folder_in_place("recipe.json"),
    "recipe is a device": link("recipe.json", "/dev/zero"),
    "recipe is a circle": link("recipe.json", "recipe.json"),
    "scale is a pipe": pipe("scale.json"),
    "scale is a device": link("scale.json", "/dev/zero"),
    "scale of NaN": scale(lambda plain: plain["code"]["low"].__setitem__(0, NAN)),
    "scale without end": scale(lambda plain: plain["code"]["high"].__setitem__(0, INF)),
    "scale beyond floats": scale(lambda plain: plain["observation"].update(low=[-1e308] * 6, high=[1e308] * 6)),
    "scale upside down": scale(lambda plain: plain["code"]["low"].__setitem__(0, 1e9)),
    "scale too narrow": scale(lambda plain: [plain["observation"][end].pop() for end in ("low", "high")]),
    "scale too wide": scale(lambda plain: [plain["code"][end].append(1.0) for end in ("low", "high")]),
    "scale of one end": scale(lambda plain: plain["code"].pop("low")),
    "scale of words": scale(lambda plain: plain["code"].update(low="low")),
    "scale of truth": scale(lambda plain: plain["code"]["low"].__setitem__(0, True)),
    "scale of lists": scale(lambda plain: plain["code"].update(low=[[0.0]], high=[[1.0]])),
    "scale of a giant": scale(lambda plain: plain["code"]["high"].__setitem__(0, 10**309)),
    "scale of names": scale(lambda plain: plain["code"].update(names=["x"])),
    "scale of a third kind": scale(lambda plain: plain.update(action=plain["code"])),
    "scales exchanged": scale(lambda plain: plain.update(code=plain["observation"], observation=plain["code"])),
    "no code scale": scale(lambda plain: plain.pop("code")),
    "NaN weight": weights(lambda tensors: fill(first(tensors), NAN)(tensors)),
    "infinite weight": weights(lambda tensors: fill(first(tensors), INF)(tensors)),
    "double weights": weights(lambda tensors: {name: value.double() for name, value in tensors.items()}),
    "half weights": weights(lambda tensors: {name: value.half() for name, value in tensors.items()}),
    "one more weight": weights(lambda tensors: tensors | {"network.extra": torch.zeros(3)}),
    "one weight less": weights(lambda tensors: [tensors.pop(first(tensors))]),
    "renamed weight": weights(lambda tensors: tensors.update(other=tensors.pop(first(tensors)))),
    "flat weights": weights(lambda tensors: {name: value.reshape(-1) for name, value in tensors.items()}),
    "no weights": weights(lambda tensors: {"none": torch.zeros(0)}),
    "lost digest": without_digest,
    "terabyte of weights": sparse,
    "endless header": content(WEIGHTS, struct.pack("<Q", 2**60) + b"{}"),
    "weights are a pickle": content(WEIGHTS, pickle.dumps(Bomb())),
    "recipe is a pickle": content("recipe.json", pickle.dumps(Bomb())),
    "weights are a pipe": pipe(WEIGHTS),
    "weights are a folder": folder_in_place(WEIGHTS),
    "weights are a device": link(WEIGHTS, "/dev/zero"),
    "empty weights": content(WEIGHTS, b""),
}

TOKENS: dict[str, Callable[[Path], None]] = {
    **{
        f"tokenizer with {name} of {value}": stored(TOKENIZER, {name: value})
        for name, value in [
            ("horizon", BIG),
            ("horizon", 0),
            ("width", BIG),
            ("width", 0),
            ("width", 3),
            ("width", -3),
            ("dt", NAN),
            ("dt", 0.0),
            ("dt", -1.0),
            ("version", 2),
            ("options", {"kind": "Binning", "bins": BIG * BIG}),
            ("options", {"kind": "Fsq", "levels": [10**6] * 6}),
            ("options", {"kind": "KMeans"}),
            ("options", {"kind": "os.system"}),
            ("options", None),
            ("horizon", "8"),
            ("merges", "x"),
        ]
    },
    "tokenizer of NaN": stored(TOKENIZER, {}, lambda tensors: fill("low", NAN)(tensors)),
    "tokenizer without a table": stored(TOKENIZER, {}, lambda tensors: tensors.pop("low")),
    "tokenizer with a table more": stored(TOKENIZER, {}, lambda tensors: tensors.update(centres=torch.zeros(3))),
    "no tokenizer": lambda folder: (folder / TOKENIZER).unlink(),
    "tokenizer is a pipe": pipe(TOKENIZER),
    "tokenizer is the weights": lambda folder: shutil.copyfile(folder / WEIGHTS, folder / TOKENIZER) and None,
    "candidates without end": policy("model.candidates", 2**20),
    "temperature of NaN": policy("model.temperature", NAN),
    "tokenizer in the recipe": policy("model.tokenizer", {"kind": "Binning", "bins": 9, "low": 0.9, "high": 0.1}),
    "blocks without end": policy("model.network.blocks", BIG),
    "many blocks": policy("model.network.blocks", 2**20),
    "expansion without end": policy("model.network.expansion", 2**20),
    "width without end": policy("model.network.width", BIG),
}

STATES: dict[str, Callable[[Path], None]] = {
    **{
        f"state with {name} of {value}": stored(STATE, {name: value})
        for name, value in [
            ("step", -1),
            ("step", "2"),
            ("step", True),
            ("step", None),
            ("data", "another"),
            ("data", None),
            ("recipe", "another"),
        ]
    },
    "state of NaN": stored(STATE, {}, lambda tensors: fill(first(tensors), NAN)(tensors)),
    "state without a tensor": stored(STATE, {}, lambda tensors: tensors.pop(first(tensors))),
    "state with a tensor more": stored(STATE, {}, lambda tensors: tensors.update(extra=torch.zeros(3))),
    "state of doubles": stored(STATE, {}, lambda tensors: tensors.update(loss=tensors["loss"].double())),
    "state is a pipe": pipe(STATE),
    "state is the weights": lambda folder: shutil.copyfile(folder / WEIGHTS, folder / STATE) and None,
    "state is empty": content(STATE, b""),
}


@pytest.fixture(scope="module")
def loading():
    with campaign.loader() as made:
        yield made


def loaded(loading, runs, tmp_path, family, build) -> dict[str, Any]:
    """The report on a run of a family after a builder changed it."""
    folder = Path(shutil.copytree(runs.folders[family][0], tmp_path / "run"))
    build(folder)
    return loading.load(folder, runs.data[family])


def check(words: list[str]) -> None:
    assert words
    assert all(len(word) < 1200 and "\n" not in word for word in words), words
    assert not Path("/tmp/holdfast_was_run").exists()


@pytest.mark.parametrize("name", DIFFUSION)
def test_hostile_runs(loading, runs, tmp_path, name):
    found = loaded(loading, runs, tmp_path, "diffusion", DIFFUSION[name])
    assert found["acts"] == "refused", found
    assert found["resumes"] not in ("traceback", "crash"), found
    check(found["words"])


@pytest.mark.parametrize("name", TOKENS)
def test_hostile_tokenizers(loading, runs, tmp_path, name):
    found = loaded(loading, runs, tmp_path, "tokens", TOKENS[name])
    assert found["acts"] == "refused", found
    assert found["resumes"] not in ("traceback", "crash"), found
    check(found["words"])


@pytest.mark.parametrize("name", STATES)
def test_hostile_states(loading, runs, tmp_path, name):
    found = loaded(loading, runs, tmp_path, "diffusion", STATES[name])
    assert found["resumes"] == "refused", found
    assert len(found["acts"]) == 64
    check(found["words"])
