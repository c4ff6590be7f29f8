"""Environments that data name: no module is imported for them."""

import sys

import gymnasium
import pytest

from holdfast.envs import ENVIRONMENTS, make_environment, named_by_data
from holdfast.errors import RecipeError, UnknownNameError

BUILT_IN = [name for name in ENVIRONMENTS if "<" not in name]


@pytest.mark.parametrize("name", [*BUILT_IN, "particle:5", "gym:Pendulum-v1", "mujoco:Hopper-v5", "so101"])
def test_what_comes_with_holdfast_or_gymnasium_may_be_named(name):
    assert named_by_data(name) == name


@pytest.mark.parametrize("kind", ["gym", "mujoco"])
def test_no_module_is_imported(kind, tmp_path, monkeypatch):
    (tmp_path / "canary_of_data.py").write_text("raise SystemExit('ran')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RecipeError, match=rf"'canary_of_data'.*give --environment {kind}:canary_of_data:X-v0;"):
        named_by_data(f"{kind}:canary_of_data:X-v0")
    assert "canary_of_data" not in sys.modules


def test_an_id_of_another_package_is_not_made(monkeypatch):
    spec = gymnasium.spec("Pendulum-v1")
    monkeypatch.setitem(gymnasium.registry, "Lazy-v0", type(spec)("Lazy-v0", entry_point="canary_of_data:Env"))
    with pytest.raises(RecipeError, match="import the module 'canary_of_data'"):
        named_by_data("gym:Lazy-v0")
    # what the running program imported itself is its own choice
    monkeypatch.setitem(sys.modules, "canary_of_data", sys)
    assert named_by_data("gym:Lazy-v0") == "gym:Lazy-v0"


def test_no_command_is_printed_that_a_shell_would_run():
    with pytest.raises(RecipeError) as caught:
        named_by_data("gym:$(touch x);:X-v0")
    assert "--environment;" in str(caught.value)
    assert str(caught.value).count("touch") == 2  # quoted both times


@pytest.mark.parametrize("name", ["particle:99999999999", "particle:0x3", "particle:" + "9" * 5000])
def test_dimensions_beyond_all_reason(name):
    with pytest.raises(UnknownNameError):
        make_environment(name, 1)
