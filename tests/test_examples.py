"""The examples run, and their results are right; what the pages name exists."""

import ast
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_your_own_data_reaches_its_target():
    command = [sys.executable, str(EXAMPLES / "your_own_data.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    numbers = [float(number) for number in re.findall(r"-?\d+\.\d+", done.stdout.splitlines()[0])]
    target, reached = numbers[:2], numbers[2:]
    assert max(abs(a - b) for a, b in zip(target, reached, strict=True)) < 0.1


def test_instructions_lead_to_their_goals():
    """With the instruction every point reaches its goal, without it at most some of them do."""
    command = [sys.executable, str(EXAMPLES / "instructions.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    shares = [int(number) for number in re.findall(r"(\d+)% of 20", done.stdout)]
    assert min(shares[3:]) >= 90
    assert max(shares[:3]) <= 60


def test_own_environment_goes_from_arrays_to_a_diagnosis_in_under_40_lines():
    """The example trains, evaluates and diagnoses in an environment of its own, with public names only."""
    text = (EXAMPLES / "own_environment.py").read_text()
    assert not re.search(r"^from holdfast|^import holdfast\.", text, re.MULTILINE)
    assert lines_of_code(text) < 40
    command = [sys.executable, str(EXAMPLES / "own_environment.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout.startswith("success 1.00 [")
    assert Path(done.stdout.splitlines()[-1]).is_file()


def examples_of(page: str) -> list[str]:
    """The Python code of a page of the documentation, block by block."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / f"{page}.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(("page", "number"), [("data", 0), ("environments", 0)])
def test_the_example_of_a_page_runs(page, number):
    run_code(examples_of(page)[number])


def test_the_gymnasium_example_of_the_page_on_environments_is_evaluated_and_diagnosed():
    first, second = run_code(examples_of("environments")[1]).splitlines()
    assert "'success': Estimate(mean=1.0, " in first
    assert "The task is solved in 100% of the rollouts." in second


def run_code(code: str) -> str:
    """What a program prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300).stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_in_the_pages_exist(page):
    """`hf.name` and `holdfast.room.name`."""
    names = re.findall(r"`(?:hf|holdfast)\.(\w+(?:\.\w+)*)", page.read_text())
    assert not [name for name in names if not exists(name)]


def exists(name: str) -> bool:
    """Whether a dotted name below `holdfast` is a module or an attribute of one."""
    try:
        return pkgutil.resolve_name(f"holdfast.{name}") is not None
    except (AttributeError, ImportError):
        return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_in_the_pages_exist(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


def lines_of_code(text: str) -> int:
    """Lines that are neither empty nor part of a docstring."""
    tree = ast.parse(text)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    strings = [n.body[0] for n in ast.walk(tree) if isinstance(n, documented) and ast.get_docstring(n)]
    prose = {line for node in strings for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    return sum(bool(line.strip()) and number not in prose for number, line in enumerate(text.splitlines(), 1))


def test_diagnose_any_policy_tells_the_damped_law_from_the_other():
    command = [sys.executable, str(EXAMPLES / "diagnose_any_policy.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    damped, undamped = done.stdout.split("undamped: ")
    assert re.search(r"unperturbed rollout shrinks by a factor of 0\.\d+ per step", damped)
    assert "shrinks" not in undamped
    assert all(Path(path).is_file() for path in re.findall(r"\S+index\.html", done.stdout))


def test_foreign_policies_get_the_right_verdicts():
    command = [sys.executable, str(EXAMPLES / "foreign_policies.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
    assert done.startswith("one queue for all episodes: the episodes share one memory in the policy")
    assert "holdfast.PerEpisode(make)" in done
    judged = re.findall(r"^(\w+): (\w+), success ([\d.]+) ", done, re.MULTILINE)
    assert judged == [("ppo", "holds", "1.00"), ("regressor", "drifts", "0.00"), ("queued", "holds", "1.00")]


def test_the_foreign_policies_of_the_page_on_environments_earn_alike():
    """A regressor, and the same law with a queue and one instance per episode: mean returns with intervals."""
    page = examples_of("environments")
    for number in (2, 3):
        mean, low, high = map(float, re.fullmatch(r"(-\S+) \[(-\S+), (-\S+)\]\n", run_code(page[number])).groups())
        assert -2000 < low < mean < high < -500
