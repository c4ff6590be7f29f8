"""Numeric options of every verb and study: each has a range, and numbers outside it are refused before any work."""

import dataclasses
import math
import types
import typing
from importlib import import_module

import pytest

from holdfast.cli import VERBS, main
from holdfast.cli.ranges import RANGES, Range, check_ranges, range_of
from holdfast.errors import RecipeError
from holdfast.studies import load_study, study_names

VERB_OPTIONS = {
    name: entry
    for name, verb in VERBS.items()
    if dataclasses.is_dataclass(entry := getattr(import_module(f"holdfast.cli.{verb.module}"), verb.entry))
}
COMMANDS = {
    **{(name,): options for name, options in VERB_OPTIONS.items()},
    **{("study", name): load_study(name) for name in study_names()},
}
POSITIONAL = {"demonstrate": ["scalar"], "inspect": ["{data}"], "train": ["{data}"], "pretrain": ["{data}"]}
POSITIONAL |= {"skills": ["{data}", "--runs", "0={data}"]}
POSITIONAL |= {"evaluate": ["{data}"], "compare": ["{data}", "{data}"], "diagnose": ["{data}"]}


def numeric(options: type) -> dict[str, type]:
    """Numeric options → their kind, int or float, also where they are optional or several."""
    found = {}
    for name, hint in typing.get_type_hints(options).items():
        kinds = kinds_of(hint) & {int, float}
        if kinds:
            (found[name],) = kinds
    return found


def kinds_of(hint) -> set[type]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType, tuple):
        return set().union(*map(kinds_of, typing.get_args(hint)))
    return {hint} if isinstance(hint, type) else set()


OPTIONS = [(command, name, kind) for command, options in COMMANDS.items() for name, kind in numeric(options).items()]


def test_all_verbs_are_looked_at():
    assert set(VERB_OPTIONS) == set(VERBS) - {"study"}
    assert len(OPTIONS) > 50


@pytest.mark.parametrize(("command", "name", "kind"), OPTIONS, ids=lambda part: str(part))
def test_every_numeric_option_has_a_range(command, name, kind):
    allowed = range_of(COMMANDS[command], name)
    assert not math.isinf(allowed.least)
    assert not math.isinf(allowed.most)
    for odd in (math.nan, math.inf, -math.inf, min(-1, allowed.least - 1), 10**39):
        assert allowed.refusal(odd)


def test_every_range_belongs_to_an_option():
    used = {name for options in COMMANDS.values() for name in numeric(options)}
    assert {name.partition(".")[2] or name for name in RANGES} == used


@pytest.mark.parametrize(("command", "name", "kind"), OPTIONS, ids=lambda part: str(part))
def test_defaults_are_in_range(command, name, kind):
    field = {field.name: field for field in dataclasses.fields(COMMANDS[command])}[name]
    values = field.default if isinstance(field.default, tuple) else (field.default,)
    assert not [value for value in values if value is not None and range_of(COMMANDS[command], name).refusal(value)]


@pytest.mark.parametrize(("command", "name", "kind"), OPTIONS, ids=lambda part: str(part))
def test_odd_numbers_are_refused_in_one_sentence(cli, demos_folder, tmp_path, command, name, kind):
    places = {"data": demos_folder, "out": tmp_path / "out"}
    given = [word.format(**places) for word in POSITIONAL.get(command[0], [])]
    flag = f"--{name.replace('_', '-')}"
    allowed = range_of(COMMANDS[command], name)
    zero = ["0"] if allowed.refusal(0) else []
    below = str(int(min(-1, allowed.least - 1)))
    for number in ("nan", "inf", below, str(10**39), "9" * 5000, "1e-320j", *zero):
        status, said = cli(
            *command, *given, *([] if command[0] == "convert" else ["--out", places["out"]]), flag, number
        )
        assert status in (1, 2), number
        assert "Traceback" not in said
        assert status == 2 or said.startswith(f"error: expected {flag} of ")
        assert not places["out"].exists()


def test_messages_state_the_range_and_the_number():
    assert Range(1, 5, "seed").refusal(0) == "at least 1 seed"
    assert Range(0, 5, "step").refusal(-1) == "at least 0 steps"
    assert Range(2, 5, "process").refusal(-1) == "at least 2 processes"
    assert Range(0, 1, open_above=True).refusal(math.nan) == "at least 0 and less than 1"

    @dataclasses.dataclass
    class Options:
        starts: int = 0
        batches: tuple[int, ...] = (1, -3)

    with pytest.raises(RecipeError, match="expected --starts of at least 1, got 0"):
        check_ranges(Options())
    with pytest.raises(RecipeError, match="expected --batches of at least 1, got -3"):
        check_ranges(Options(starts=1))


def test_options_of_several_values_need_one(cli, demos_folder, tmp_path):
    out = tmp_path / "out"
    for command, option in (
        (("study", "real-time", "--run", "--out", out), "--run"),
        (("study", "real-time", "--out", out, "--human-delays"), "--human-delays"),
        (("train", demos_folder, "--prefix-delays", "--out", out), "--prefix-delays"),
    ):
        status, said = cli(*command)
        assert (status, said.strip()) == (
            1,
            f"error: expected at least one value after {option}, got none. Give one, or omit {option}.",
        )
        assert not out.exists()


@pytest.mark.parametrize("digits", [300, 400])
def test_numbers_of_many_digits_are_refused_in_words(cli, demos_folder, tmp_path, digits):
    for option in ("--seed", "--seeds", "--steps"):
        status, said = cli("train", demos_folder, "--out", tmp_path / "run", option, "9" * digits)
        assert status == 1
        assert f"a number of {digits} digits" in said
        assert "999" not in said
        assert "Traceback" not in said


def test_errors_that_repeat_long_values_are_cut_and_keep_the_way_out(cli, demos_folder, tmp_path):
    delays = map(str, range(2000))
    status, said = cli("train", demos_folder, "--out", tmp_path / "run", "--prefix-delays", *delays)
    assert status == 1
    assert len(said) < 3200
    assert "Lower them, or train with horizon > 1999." in said.replace("\n", " ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("system", ["avoid", "courier", "fork", "obstacle", "particle:1000", "quadrotor2d"])
def test_demonstrations_beyond_the_memory_are_refused_before_the_work(tmp_path, monkeypatch, capsys, system):
    # in this process, where a small memory can be pretended
    monkeypatch.setattr("holdfast.cli.machine.available_memory", lambda: 1 << 30)
    assert main(["demonstrate", system, "--episodes", "1000000", "--out", str(tmp_path / "set")]) == 1
    assert "Choose fewer episodes." in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())
