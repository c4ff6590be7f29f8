"""No name from a file, a path or an argument reaches the terminal as markup or as a control sequence."""

import io
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from rich.spinner import Spinner
from rich.text import Text

from holdfast.cli.console import Terminal
from holdfast.printable import PLAIN, in_lines, printable

NAMES = {
    "markup": "a[/red]b[bold]",
    "clear": "a\x1b[2Jb",
    "csi": "a\x9b31mb",
    "bidi": "a\u202eb",
    "formula": "a$b$\\frac{",
    "newline": "a\nerror: b",
    "surrogate": "a\udcffb",
    "emoji": "a:smiley:b",
}
CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
HARMFUL = [*NAMES.values(), "n" * 10_000]


def terminal(**options) -> tuple[Terminal, io.StringIO]:
    said = io.StringIO()
    return Terminal(file=said, highlight=False, width=200, **options), said


@pytest.mark.parametrize("name", HARMFUL, ids=[*NAMES, "long"])
def test_printable_is_one_short_line_without_controls(name):
    shown = printable(name)
    assert not CONTROLS.search(shown)
    assert "\n" not in shown
    assert len(shown) <= 300
    assert printable(shown) == shown
    shown.encode("utf-8")


@pytest.mark.parametrize("name", HARMFUL, ids=[*NAMES, "long"])
@pytest.mark.parametrize("way", ["say", "print", "text", "status", "padded"])
def test_the_console_prints_names_as_they_are(name, way):
    console, said = terminal()
    match way:
        case "say":
            console.say("before ", (name, "bold"), style="red")
        case "print":
            console.print(name)
        case "text":
            console.print(Text(name))
        case "status":
            console.print(Spinner("dots", text=Text(name)))
        case _:
            console.say(name, indent=2)
    shown = said.getvalue()
    assert not CONTROLS.search(shown)
    for kept in ("[/red]", "[bold]", ":smiley:", "$b$\\frac{"):
        assert (kept in shown) == (kept in name)
    shown.encode("utf-8")


@pytest.mark.parametrize("name", HARMFUL, ids=[*NAMES, "long"])
@pytest.mark.parametrize("shown_by", ["stages", "_bars"])
def test_tables_and_progress_print_names_as_they_are(monkeypatch, name, shown_by):
    from holdfast.cli import console as module
    from holdfast.cli import progress

    console, said = terminal(force_terminal=False)
    monkeypatch.setattr(module, "console", console)
    monkeypatch.setattr(progress, "console", console)
    module.show_table(name, ["", name], [[name, name]])
    with getattr(progress, shown_by)() as stage:
        stage(name, 3)(3)
    assert not CONTROLS.search(said.getvalue())


@pytest.mark.parametrize("force_terminal", [True, False])
def test_progress_reaches_its_end_where_the_work_did(monkeypatch, force_terminal):
    from holdfast.cli import progress as module

    console, said = terminal(force_terminal=force_terminal)
    monkeypatch.setattr(module, "console", console)
    with module.stages() as stage:
        stage("many", 1007)(1007)  # of which every 20th is drawn
        stage("early", 400)(137)  # all episodes had ended
        stage("unknown", None)(5)
    shown = said.getvalue()
    assert "1007/1007" in shown
    assert "400/400" in shown
    assert "5/?" in shown
    said.truncate(0)
    with pytest.raises(ZeroDivisionError), module.stages() as stage:
        _fails_after(stage("failed", 300))
    assert "137/300" in said.getvalue()


def lines_of(monkeypatch, total, steps):
    """Lines of a training without a terminal, at two steps a second."""
    from holdfast.cli import progress as module

    console, said = terminal(force_terminal=False)
    monkeypatch.setattr(module, "console", console)
    now = 100.0
    with module.stages(clock=lambda: now) as stage:
        advance = stage("training", total)
        for done in steps:
            now += 0.5
            advance(done)
    return said.getvalue().splitlines()


def test_without_a_terminal_a_line_now_and_then_says_how_far_the_work_is(monkeypatch):
    said = lines_of(monkeypatch, 200, range(1, 201))
    # after 10 s, then every 30 s, and at the end
    assert said == [
        "training: 20/200, 10 s, about 1 min 30 s left at this speed",
        "training: 80/200, 40 s, about 1 min 0 s left at this speed",
        "training: 140/200, 1 min 10 s, about 30 s left at this speed",
        "training: 200/200, 1 min 40 s",
    ]


def test_the_time_left_of_continued_work_is_that_at_its_own_speed(monkeypatch):
    said = lines_of(monkeypatch, 2000, range(1001, 1101))
    # two steps a second: 980 and 920 are left
    assert said == [
        "training: 1020/2000, 10 s, about 8 min 10 s left at this speed",
        "training: 1080/2000, 40 s, about 7 min 40 s left at this speed",
        "training: 2000/2000, 50 s",
    ]


def _fails_after(advance):
    advance(137)
    raise ZeroDivisionError


def test_symbols_become_ascii_where_the_terminal_has_no_others():
    written = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Terminal(file=written, highlight=False, width=100)
    console.say("σ = 0.3 → ≥ 2 × 3 – “x” é 日 ū")
    console.print(Spinner("dots", text="…"))
    written.flush()
    text = written.buffer.getvalue().decode("ascii")
    assert 'sigma = 0.3 -> >= 2 x 3 - "x" e \\u65e5 u' in text


def test_every_symbol_of_the_source_has_a_replacement(source):
    symbols = {letter for file in source.rglob("*.py") for letter in file.read_text("utf-8") if not letter.isascii()}
    assert not [letter for letter in symbols if "\\" in letter.encode("ascii", PLAIN).decode()]


def test_lines_stay_lines():
    assert in_lines("a\x1b[0m\n  b\n") == "a\\x1b[0m\n  b\n"


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    clean = {key: value for key, value in os.environ.items() if key != "LANG" and not key.startswith("LC_")}
    command = [sys.executable, "-m", "holdfast", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, env=clean | environment)


POOR = {
    "C": {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii", "TERM": "dumb", "NO_COLOR": "1"},
}


@pytest.mark.parametrize("environment", POOR.values(), ids=POOR)
@pytest.mark.parametrize(
    "arguments", [["inspect", "{data}", "--out", "{out}"], ["train", "--help"]], ids=lambda a: a[0]
)
def test_poor_terminals(tmp_path, environment, arguments):
    data = tmp_path / "data.npz"
    rng = np.random.default_rng(0)
    np.savez(data, states=rng.normal(size=(90, 2)), actions=rng.normal(size=(90, 1)), episode_ends=[30, 90])
    done = run(*(argument.format(data=data, out=tmp_path / "out") for argument in arguments), **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert not done.stderr


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_in_arguments(cli, name):
    for arguments in (
        [name],
        ["inspect", name],
        ["train", f"--{name}", "1"],
        ["study", name],
        ["train", "--steps", name],
    ):
        status, said = cli(*arguments)
        assert status in (1, 2), arguments
        assert not CONTROLS.search(said), arguments
        assert "Traceback" not in said, arguments


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device without space here")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["demo", "--help"], ["study"]], ids=" ".join)
def test_output_to_a_full_disk_is_one_sentence(arguments):
    command = [sys.executable, "-m", "holdfast", *arguments]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


def test_names_that_are_no_text_are_refused_before_the_work(cli, tmp_path):
    status, said = cli("demonstrate", "scalar", "--out", tmp_path / "a\udcffb")
    assert status == 1
    assert said.endswith("a\\udcffb holds bytes that are not UTF-8. Rename the file or folder.")
