"""Documentation ↔ command line: every verb has a summary and is in the README, every option says what it is."""

import ast
import itertools
import re
from pathlib import Path

import pytest

from holdfast.cli import VERBS, main
from holdfast.studies import study_names

ROOT = Path(__file__).resolve().parents[1]
README, SOURCE = ROOT / "README.md", ROOT / "src" / "holdfast"


def help_of(capsys, *arguments: str) -> str:
    try:
        status = main([*arguments, "--help"])
    except SystemExit as stopped:
        status = stopped.code
    assert status == 0
    # without colours and the frames around groups of options
    return re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", " ", capsys.readouterr().out)


def test_the_verbs_are_these(capsys):
    assert list(VERBS) == [
        "demo",
        "demonstrate",
        "inspect",
        "replay",
        "convert",
        "train",
        "pretrain",
        "skills",
        "finetune",
        "evaluate",
        "runs",
        "compare",
        "diagnose",
        "serve",
        "export",
        "study",
    ]
    listed = help_of(capsys)
    for name, verb in VERBS.items():
        assert re.search(rf"^  {name} +{re.escape(verb.summary)}$", listed, re.MULTILINE)
        assert re.fullmatch(r"[A-Z].{10,90}\.", verb.summary)


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_are_in_the_readme(verb):
    assert f"holdfast {verb}" in README.read_text()


def described_options(verb: str) -> dict[str, str]:
    """Field → the text below it, for the dataclass that a verb is made of."""
    tree = ast.parse((SOURCE / "cli" / f"{VERBS[verb].module}.py").read_text())
    (body,) = [n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == VERBS[verb].entry]
    pairs = [(a, b) for a, b in itertools.pairwise(body) if isinstance(a, ast.AnnAssign)]
    return {a.target.id: b.value.value if isinstance(b, ast.Expr) else "" for a, b in pairs}


@pytest.mark.parametrize("verb", [name for name, verb in VERBS.items() if verb.entry[0].isupper()])
def test_every_option_is_described(capsys, verb, monkeypatch):
    """In the source and, word for word, in what --help prints."""
    monkeypatch.setenv("COLUMNS", "300")
    printed = " ".join(help_of(capsys, verb).split())
    options = described_options(verb)
    assert len(options) >= 2
    for name, text in options.items():
        assert text.endswith("."), f"holdfast {verb}: {name} says nothing"
        shown = re.sub(r" Default: (.*)\.$", r" (default: \1)", " ".join(text.split()))
        assert shown in printed, f"holdfast {verb}: {name}"


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_begins_by_saying_what_it_does(capsys, verb):
    assert re.search(r"[A-Z][a-z]+ .*\.", help_of(capsys, verb).split("\n\n", 1)[1])


COMMANDS = [*([name] for name in VERBS if name != "study"), *(["study", name] for name in study_names())]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_option_shows_its_default(capsys, command, monkeypatch):
    """Or what the default depends on, or that it is required; never that it is None."""
    monkeypatch.setenv("COLUMNS", "300")
    text = help_of(capsys, *command)
    assert "None" not in text
    options = re.split(r"\n +(?=--\w)", text.split(" options ", 1)[1])[1:]
    assert options
    bare = [option for option in options if not re.search(r"\(default: |\(required\)|Required ", option)]
    assert not bare


def commands_help(capsys, monkeypatch, command, columns: int) -> tuple[list[str], list[str]]:
    """Paragraphs of the description, and lines in frames, of a command's help in a terminal of a given width."""
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    # the frames are lines of dashes where the terminal has no others
    text = re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", " ", capsys.readouterr().out)
    described, *frames = re.split(r"\n+ +(?:positional arguments|options) *\n", text.split("\n\n", 1)[1])
    lines = [line.strip() for frame in frames for line in frame.splitlines()]
    return described.strip().split("\n\n"), [
        line for line in lines if line.strip("-") and "show this help message" not in line
    ]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_breaks_lines_only_at_the_edge(capsys, command, monkeypatch):
    """Where a terminal is wide enough, every paragraph and every option is one line; else lines fill the terminal."""
    wide, options = commands_help(capsys, monkeypatch, command, 1900)
    assert not [paragraph for paragraph in wide if "\n" in paragraph]
    # a line that does not end a description is the name of an option
    assert not [line for line in options if line[-1] not in ".)" and not re.match(r"-\S+( \S+)*$", line)]
    narrow, _ = commands_help(capsys, monkeypatch, command, 80)
    assert [paragraph.split() for paragraph in narrow] == [paragraph.split() for paragraph in wide]
    for lines in (paragraph.split("\n") for paragraph in narrow):
        assert max(map(len, lines)) <= 80
        # the next word would not have fitted
        assert all(len(f"{a} {b.split()[0]}") > 80 for a, b in itertools.pairwise(lines))


def test_options_in_the_readme_exist(capsys):
    text = README.read_text()
    for verb in VERBS:
        for line in re.findall(rf"holdfast {verb} ([^`\n]*)", text):
            # each study has options of its own
            known = help_of(capsys, verb, *(re.findall(r"^[a-z0-9-]+", line) if verb == "study" else []))
            for option in re.findall(r"--[a-z-]+", line.split("holdfast")[0]):
                assert option in known, f"README: holdfast {verb} {option}"
