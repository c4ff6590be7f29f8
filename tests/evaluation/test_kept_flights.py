"""The expert's flights on disk: the same numbers, only for the same key, and never a damaged one."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from holdfast.control import MpcExpert, Quadrotor2D, double_integrator, scalar
from holdfast.control.systems import obstacle_system
from holdfast.envs import PlainPolicy
from holdfast.errors import CacheWarning
from holdfast.evaluation import evaluate, kept_flights
from holdfast.evaluation.kept_flights import expert_flights, kept_in
from holdfast.sealed import read_sealed, sealed
from holdfast.seeding import stream

EXPERT = MpcExpert(scalar(a=1.0), horizon=3)
STARTS = torch.tensor([[1.0], [-0.5]], dtype=torch.float64)
STEPS = 4


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "flights"


@pytest.fixture
def computed(monkeypatch):
    """Number of steps of each flight that was computed, not read."""
    found, rollout = [], MpcExpert.rollout

    def noted(self, starts, steps, **more):
        found.append(steps)
        return rollout(self, starts, steps, **more)

    monkeypatch.setattr(MpcExpert, "rollout", noted)
    return found


def flown(expert=EXPERT, starts=STARTS, steps=STEPS):
    return expert_flights(expert, starts, steps)


def the_file(folder):
    (only,) = folder.iterdir()
    return only


def test_the_second_time_the_same_bits_are_read(folder, computed):
    seen = []
    first = expert_flights(EXPERT, STARTS, STEPS, progress=seen.append)
    again = expert_flights(EXPERT, STARTS, STEPS, progress=seen.append)
    assert computed == [STEPS]
    assert seen == [1, 2, 3, 4, 4]
    alone = EXPERT.rollout(STARTS, STEPS)
    for one in (first, again):
        assert torch.equal(one.states, alone.states)
        assert torch.equal(one.actions, alone.actions)


@pytest.mark.parametrize(
    "other",
    [
        (replace(EXPERT, horizon=4), STARTS, STEPS),
        (replace(EXPERT, tolerance=1e-6), STARTS, STEPS),
        (replace(EXPERT, max_rounds=99), STARTS, STEPS),
        (replace(EXPERT, task=scalar(a=1.0 + 2e-16)), STARTS, STEPS),
        (replace(EXPERT, task=replace(EXPERT.task, action_weight=torch.tensor([[2.0]]))), STARTS, STEPS),
        (replace(EXPERT, task=replace(EXPERT.task, dt=0.5)), STARTS, STEPS),
        (EXPERT, STARTS.nextafter(torch.tensor(2.0).double()), STEPS),
        (EXPERT, STARTS.float(), STEPS),
        (EXPERT, STARTS[:1], STEPS),
        (EXPERT, STARTS, STEPS + 1),
    ],
)
def test_whatever_differs_is_another_flight(folder, computed, other):
    flown()
    found = flown(*other)
    assert len(computed) == len(list(folder.iterdir())) == 2
    assert torch.equal(found.states, MpcExpert.rollout(*other).states)


@pytest.mark.parametrize("what", ["code", "version", "threads", "dtype", "processor"])
def test_other_code_or_another_machine_is_another_flight(folder, computed, monkeypatch, what):
    flown()
    change = {
        "code": (kept_flights, "_code", lambda: "another"),
        "version": (torch, "__version__", "99.0"),
        "threads": (torch, "get_num_threads", lambda: 97),
        "dtype": (torch, "get_default_dtype", lambda: torch.float64),
        "processor": (torch.backends.cpu, "get_cpu_capability", lambda: "another"),
    }
    monkeypatch.setattr(*change[what])
    flown()
    assert computed == [STEPS, STEPS]


def test_the_code_is_all_of_the_room_of_experts_and_systems(tmp_path, monkeypatch):
    before = kept_flights._code()
    (tmp_path / "systems").mkdir()
    for name in ("__init__.py", "systems/quadrotor.py"):
        (tmp_path / name).write_text("x = 1\n")
    found = []
    for text in ("x = 1\n", "x = 2\n", "x = 1\n"):
        (tmp_path / "systems" / "quadrotor.py").write_text(text)
        monkeypatch.setattr(kept_flights.control, "__file__", str(tmp_path / "__init__.py"))
        kept_flights._code.cache_clear()
        found.append(kept_flights._code())
    kept_flights._code.cache_clear()
    assert found[0] == found[2] != found[1]
    assert before not in found


def flipped(file):
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)


def cut_short(file):
    file.write_bytes(file.read_bytes()[:-1])


def emptied(file):
    file.write_bytes(b"")


def exchanged(file):
    """The flights of another key, whole and with a right checksum, under this name."""
    flown(steps=STEPS + 1)
    (other,) = (one for one in file.parent.iterdir() if one != file)
    os.replace(other, file)


def a_link(file):
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("missing")


def forged(change):
    """Other numbers under the right key, with a right checksum, by somebody who can write to the folder."""

    def damage(file):
        stored = read_sealed(file)
        file.write_bytes(sealed(change(dict(stored.tensors)), stored.about))

    return damage


FORGERIES = {
    "not finite": lambda parts: parts | {"actions": parts["actions"] * float("nan")},
    "more actions": lambda parts: parts | {"actions": parts["actions"].repeat(1, 1, 2)},
    "more states": lambda parts: parts | {"states": parts["states"].repeat(1, 1, 2)},
    "one flight": lambda parts: {name: part[:1] for name, part in parts.items()},
    "flat": lambda parts: {name: part.flatten() for name, part in parts.items()},
    "of another type": lambda parts: {name: part.bfloat16() for name, part in parts.items()},
    "of whole numbers": lambda parts: {name: part.to(torch.int8) for name, part in parts.items()},
    "no actions": lambda parts: {"states": parts["states"]},
}


@pytest.mark.parametrize("damage", [flipped, cut_short, emptied, exchanged, a_link, *map(forged, FORGERIES.values())])
def test_damage_is_said_in_one_line_and_computed_again(folder, computed, damage):
    right = flown()
    file = the_file(folder)
    damage(file)
    computed.clear()
    with pytest.warns(CacheWarning, match=r"^kept flights of the expert are damaged.*\.safetensors: .+$") as said:
        found = flown()
    assert len(said) == 1
    assert computed == [STEPS]
    assert torch.equal(found.states, right.states)
    flown()
    assert computed == [STEPS]


def test_the_ones_not_used_for_the_longest_time_are_removed(folder, computed, monkeypatch):
    for steps in (1, 2, 3):
        flown(steps=steps)
        kept = max(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)
        os.utime(kept, ns=(steps * 10**9, steps * 10**9))
    size = max(file.stat().st_size for file in folder.iterdir())
    abandoned, begun = folder / ".x.safetensors.1.partial", folder / ".y.safetensors.2.partial"
    for file in (abandoned, begun):
        file.write_bytes(b"?")
    os.utime(abandoned, (0, 0))
    # a use makes the oldest the newest
    flown(steps=1)
    monkeypatch.setattr(kept_flights, "MOST_BYTES", 3 * size + size // 2)
    flown(steps=4)
    assert (abandoned.exists(), begun.exists()) == (False, True)
    computed.clear()
    for steps in (1, 3, 4):
        flown(steps=steps)
    assert computed == []
    flown(steps=2)
    assert computed == [2]


def test_flights_larger_than_the_limit_are_not_kept(folder, monkeypatch):
    monkeypatch.setattr(kept_flights, "MOST_BYTES", 100)
    flown()
    assert not folder.exists()


def test_off_and_systems_of_others_leave_nothing_on_disk(folder, computed, monkeypatch):
    class Mine(Quadrotor2D):
        pass

    task = Mine()
    flown(MpcExpert(task, horizon=3), task.initial_states(1, rng=stream(0, "mine")), 1)
    monkeypatch.setenv("HOLDFAST_CACHE", "off")
    flown()
    flown()
    assert not folder.exists()
    assert computed == [1, STEPS, STEPS]


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path / "file"))
    with pytest.warns(CacheWarning, match=r"could not be kept in .*Set the variable HOLDFAST_CACHE") as said:
        assert flown().steps == STEPS
    assert len(said) == 1


def test_where_flights_are_kept(monkeypatch):
    monkeypatch.delenv("HOLDFAST_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert str(kept_in()) == "/caches/holdfast/flights"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(kept_in()) == "/home/someone/.cache/holdfast/flights"


@pytest.mark.parametrize("task", [double_integrator(), obstacle_system(), Quadrotor2D()], ids=lambda task: task.name)
def test_every_built_in_system_is_kept(folder, computed, task):
    starts = task.initial_states(2, rng=stream(0, "kept"))
    for _ in range(2):
        flown(MpcExpert(task, horizon=3), starts, 2)
    assert computed == [2]


def test_an_evaluation_is_the_same_with_kept_flights(folder, computed):
    law = PlainPolicy(lambda x: -0.3 * x, batched=True)
    found = [evaluate(law, "scalar", episodes=3, seed=seed) for seed in (0, 0, 1)]
    assert len(computed) == 2
    assert found[0].estimates == found[1].estimates
    assert found[0].estimates != found[2].estimates


FROM_ANOTHER_PROCESS = """
import torch
from holdfast.control import MpcExpert, scalar
from holdfast.evaluation.kept_flights import expert_flights
torch.set_num_threads(1)
MpcExpert.rollout = None
starts = torch.tensor([[1.0], [-0.5]], dtype=torch.float64)
print(expert_flights(MpcExpert(scalar(a=1.0), horizon=3), starts, 4).states.tolist())
"""


def test_another_process_reads_them(folder):
    right = flown()
    found = subprocess.run([sys.executable, "-c", FROM_ANOTHER_PROCESS], capture_output=True, text=True, check=False)
    assert found.stdout == f"{right.states.tolist()}\n", found.stderr
