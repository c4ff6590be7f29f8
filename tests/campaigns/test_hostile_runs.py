"""Run folders made by hand to do harm: every one is refused in words, within 6 GB, and runs nothing."""

import shutil
from pathlib import Path

import pytest

from .hostile_runs import DIFFUSION, STATES, TOKENS
from .test_run_folders import loader, runs

__all__ = ["runs"]

POLICIES = [("diffusion", name) for name in DIFFUSION] + [("tokens", name) for name in TOKENS]


@pytest.fixture(scope="module")
def loading():
    with loader() as made:
        yield made


def loaded(loading, runs, tmp_path, family, build):
    """The report on a run of a family after a builder changed it; every error is one readable line."""
    folder = Path(shutil.copytree(runs.folders[family][0], tmp_path / "run"))
    build(folder)
    found = loading.load(folder, runs.data[family])
    assert found["words"]
    assert all(len(word) < 1200 and "\n" not in word for word in found["words"]), found
    assert not Path("/tmp/holdfast_was_run").exists()
    return found


@pytest.mark.parametrize(("family", "name"), POLICIES)
def test_a_policy_is_refused(loading, runs, tmp_path, family, name):
    build = (DIFFUSION if family == "diffusion" else TOKENS)[name]
    found = loaded(loading, runs, tmp_path, family, build)
    assert found["acts"] == "refused", found
    assert found["resumes"] not in ("traceback", "crash"), found


@pytest.mark.parametrize("name", STATES)
def test_a_training_state_is_refused_and_its_policy_still_acts(loading, runs, tmp_path, name):
    found = loaded(loading, runs, tmp_path, "diffusion", STATES[name])
    assert found["resumes"] == "refused", found
    assert len(found["acts"]) == 64
