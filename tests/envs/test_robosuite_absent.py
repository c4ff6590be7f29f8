"""Without robosuite: the package is imported only for its tasks, and their absence is said."""

import subprocess
import sys

import pytest

from holdfast.envs import make_environment, named_by_data
from holdfast.errors import MissingExtraError, UnknownNameError


def test_a_task_without_the_package_names_the_extra(monkeypatch):
    for name in ("robosuite", "robosuite.utils", "robosuite.utils.log_utils"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"robosuite is not installed. .*'holdfast\[robosuite\]'"):
        make_environment("robosuite:Lift", 1)


def test_an_unknown_task_is_refused_before_the_package_is_asked_for():
    with pytest.raises(UnknownNameError, match="unknown robosuite task 'Stack'"):
        make_environment("robosuite:Stack", 1)


def test_a_name_in_a_file_imports_nothing():
    assert named_by_data("robosuite:Lift:kp=50") == "robosuite:Lift:kp=50"
    code = "import sys, holdfast as hf; hf.make_environment; print('robosuite' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
