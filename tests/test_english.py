"""Plain English: help, error messages, docstrings and docs avoid phrases that readers stumble over.

Each habit is a pattern with what to write instead.
"""

import ast
import re
from pathlib import Path

import pytest

from holdfast.cli import VERBS, main
from holdfast.studies import study_names

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "holdfast"

HABITS = {
    r"(if|where|unless) nothing (else )?is (said|asked|given)": "default: …",
    r"\bif it says nothing\b": "is not given",
    r"\b[Ll]eav(e|ing) (it |them |one of them |\S+ )?away\b": "remove, omit",
    r"for a part of the network calls": "with fewer network calls",
    r"under all (the )?instruments": "run every diagnostic",
    r"tosses a coin": "at random",
    r"goes from each to each": "converts losslessly between any two formats",
    r"stand behind one interface": "share one interface",
    r"in the company of": "together with",
    r"what measures writes": "measuring commands write",
    r"of this one only\b": "state what is known of it",
    r"\bdraws nothing\b": "cannot render",
    r"if who flew": "under random relabelling",
    r"\b(has|have|gives?|knows?) no answers?\b|\banswers? to it\b": "cannot act on",
    r"\bas if so many\b|\bof so many\b|\bfor so many\b|\bwith so many\b": "a given number of",
    r"\bbut for\b(?! (each|every|all|one|a|the))": "except",
    r"\btold apart\b|\btell apart\b": "distinguishable, significantly different",
    r"\bwhat (came|comes|has come) of\b": "results of",
    r"\bflown\b": "run, rolled out",
    r"\bis left open\b|\bof one's own\b|\bwhat else\b": "say it directly",
    r"\bput under\b": "run",
    r"\bas the run says\b|\bspoken of\b": "as in the recipe",
}

ELLIPSIS = re.compile(
    r"(Of|On|In|By|To) (the|a|an|its|this|that|these|those|each|which|what|how|one|all|some|whom?)\b"
    r"|(By how|On what|Where to|What is|Whose|Whom)\b"
)
"""Beginnings of descriptions without a noun: `"Of the system."`, `seed: Of the choice of episodes.`"""


def place_of(file: Path) -> str:
    return file.relative_to(SOURCE).as_posix()


FILES = sorted(SOURCE.rglob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def habits_in(text: str) -> list[str]:
    """Phrases of the text that are habits, with what to write instead."""
    flat = " ".join(text.split())
    return [
        f"{match[0]!r} in …{flat[max(0, match.start() - 40) : match.end() + 40]}…: write {better!r}"
        for pattern, better in HABITS.items()
        for match in re.finditer(pattern, flat)
    ]


def docstrings(tree: ast.AST) -> list[str]:
    """Docstrings of modules, classes and functions, and of constants and fields."""
    bodies = [node.body for node in ast.walk(tree) if isinstance(getattr(node, "body", None), list)]
    values = [node.value for body in bodies for node in body if isinstance(node, ast.Expr)]
    return [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]


def descriptions(docstring: str) -> list[str]:
    """The first line of a docstring, and those of its arguments and attributes."""
    entry = re.compile(r"^ {4,}(?:\*{0,2}[\w, ]+): (.+)$", re.MULTILINE)
    return [docstring.strip(), *entry.findall(docstring)]


def messages(tree: ast.AST) -> list[str]:
    """Texts of raised errors and of everything printed: all strings that are no docstrings."""
    documented = set(docstrings(tree))
    parts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [node.value for node in parts if " " in node.value and node.value not in documented]


@pytest.mark.parametrize("file", FILES, ids=place_of)
def test_source(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    texts = docstrings(tree)
    found = [habit for text in [*texts, *messages(tree)] for habit in habits_in(text)]
    found += [line for text in texts for line in descriptions(text) if ELLIPSIS.match(line)]
    assert not found


COMMANDS = [*([name] for name in VERBS if name != "study"), *(["study", name] for name in study_names())]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help(capsys, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    text = re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", " ", capsys.readouterr().out)
    assert not habits_in(text)
    assert not [line for line in re.findall(r"^ +--\S+ .*?  +(\S.*)$", text, re.MULTILINE) if ELLIPSIS.match(line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages(page):
    assert not habits_in(page.read_text(encoding="utf-8"))


def test_habits_are_found():
    assert habits_in("Replanning, for a part of the\nnetwork calls; the run's own, if nothing is said.")
    assert ELLIPSIS.match(descriptions("Options.\n\n    Attributes:\n        seed: Of the choice of episodes.\n")[1])
    assert ELLIPSIS.match(descriptions("Of the system.")[0])
    assert not ELLIPSIS.match(descriptions("On-policy data.")[0])
