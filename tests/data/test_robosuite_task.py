"""robosuite's tasks as names and as `env_args`: what is read, what is refused."""

import pytest
import torch

from holdfast.cli.train_recipe import changed_recipe
from holdfast.data.robosuite_task import RobosuiteTask, left_out, robosuite_name, version_of
from holdfast.errors import RecipeError, UnknownNameError
from holdfast.types import Episodes

ARM = {
    "type": "OSC_POSE",
    "output_max": [0.1, 0.1, 0.1, 0.3, 0.3, 0.3],
    "output_min": [-0.1, -0.1, -0.1, -0.3, -0.3, -0.3],
    "kp": 80,
}


def old(**changes):
    """As robosuite 1.4 writes it."""
    arm = ARM | {"damping": 1.5, "control_delta": False} | changes
    options = {"robots": ["Sawyer"], "control_freq": 10, "controller_configs": arm, "nut_type": "square"}
    return {"env_name": "PickPlaceCan", "env_version": "1.4.1", "type": 1, "env_kwargs": options}


def new(**changes):
    """As robosuite 1.5 writes it."""
    arm = ARM | {"damping_ratio": 1.5, "input_type": "absolute", "input_ref_frame": "world"} | changes
    config = {"type": "BASIC", "body_parts": {"right": arm}}
    options = {"robots": ["Sawyer"], "control_freq": 10, "controller_configs": config}
    return {"env_name": "PickPlaceCan", "env_version": "1.5.1", "type": 1, "env_kwargs": options}


@pytest.mark.parametrize(("described", "version"), [(old(), "1.4"), (new(), "1.5")])
def test_both_forms_of_a_controller_are_the_same_task(described, version):
    task = RobosuiteTask.of(described)
    assert (task.task, task.robot, task.absolute, task.version) == ("PickPlaceCan", "Sawyer", True, version)
    assert (task.rate, task.kp, task.damping, task.reach, task.turn) == (10, 80, 1.5, 0.1, 0.3)


def test_a_name_and_env_args_are_read_back():
    task = RobosuiteTask.of(new())
    assert RobosuiteTask.parse(task.name) == task
    assert RobosuiteTask.of(task.env_args()) == task
    usual = RobosuiteTask(task="Lift")
    assert usual.name == "robosuite:Lift"
    assert RobosuiteTask.of(usual.env_args()) == usual
    assert RobosuiteTask.parse("robosuite:Square").task == "NutAssemblySquare"


def test_settings_that_are_not_given_are_robomimics():
    assert RobosuiteTask.of({"env_name": "Lift", "type": 1}) == RobosuiteTask(task="Lift")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": "JOINT_POSITION"}, "controller is JOINT_POSITION"),
        ({"impedance_mode": "variable"}, "OSC_POSE with impedance_mode 'variable'"),
        ({"kp": [150, 150, 150, 10, 10, 10]}, "OSC_POSE with kp"),
        ({"output_max": [0.1, 0.2, 0.1, 0.3, 0.3, 0.3]}, "OSC_POSE with output_max"),
        ({"output_min": [0, 0, 0, 0, 0, 0]}, "output_min"),
        ({"output_max": "far"}, "OSC_POSE with output_max far"),
        ({"output_min": None}, "output_min None"),
    ],
)
def test_another_controller_is_refused(changes, words):
    with pytest.raises(RecipeError, match=words):
        RobosuiteTask.of(old(**changes))


def test_one_number_stands_for_all_six_limits():
    task = RobosuiteTask.of(old(output_max=0.1, output_min=-0.1))
    assert (task.reach, task.turn) == (0.1, 0.1)


def test_a_rate_that_is_no_number_is_refused():
    described = old()
    described["env_kwargs"]["control_freq"] = None
    with pytest.raises(RecipeError, match="expected a number for rate of a robosuite task, got None"):
        RobosuiteTask.of(described)


def test_goals_in_the_frame_of_the_base_are_refused():
    with pytest.raises(RecipeError, match="frame of the robot's base"):
        RobosuiteTask.of(new(input_ref_frame="base"))


def test_two_robots_are_refused():
    described = old()
    described["env_kwargs"]["robots"] = ["Panda", "Panda"]
    with pytest.raises(RecipeError, match="expected one robot"):
        RobosuiteTask.of(described)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("robosuite:Stack", UnknownNameError, "unknown robosuite task 'Stack'. Known: .*Square"),
        ("robosuite:Lift:robot=Baxter", UnknownNameError, "unknown robot 'Baxter'"),
        ("robosuite:Lift:version=2", UnknownNameError, "unknown version of robosuite '2'"),
        ("robosuite:Lift:speed=2", UnknownNameError, "unknown setting of a robosuite task 'speed'"),
        ("robosuite:Lift:kp=high", RecipeError, "expected a number for kp"),
        ("robosuite:Lift:kp=-1", RecipeError, "expected kp of a robosuite task above 0"),
        ("robosuite:Lift:kp=nan", RecipeError, "expected kp of a robosuite task above 0"),
        ("robosuite:Lift:controller=JOINT_POSITION", RecipeError, "controller is JOINT_POSITION"),
    ],
)
def test_other_names_are_refused(name, error, words):
    with pytest.raises(error, match=words):
        RobosuiteTask.parse(name)


def test_files_of_other_tasks_keep_their_name():
    """A reader refuses nothing; the environment does, when it is made."""
    assert robosuite_name({"env_name": "Libero_Kitchen", "type": 1}) == "robosuite:Libero_Kitchen"
    assert robosuite_name(old(type="JOINT_VELOCITY")) == "robosuite:PickPlaceCan:controller=JOINT_VELOCITY"
    # another setting of the same controller has no name, and must not pass for robomimic's
    name = robosuite_name(old(kp=[1, 2, 3, 4, 5, 6]))
    with pytest.raises(RecipeError, match="controller is OSC_POSE"):
        RobosuiteTask.parse(name)


@pytest.mark.parametrize(
    ("version", "kept"), [("1.2.0", "1.4"), ("1.4.1", "1.4"), ("1.5.0", "1.5"), ("1.10.2", "1.5"), (None, "1.4")]
)
def test_versions_by_their_observations(version, kept):
    assert version_of({"env_version": version}) == kept


def test_what_is_not_read_is_listed():
    assert left_out(old()) == ["nut_type"]


def test_a_run_on_absolute_goals_names_an_environment_that_takes_them():
    """The set is read with changes as actions, and becomes absolute only after the recipe is made."""
    steps = torch.zeros(4, 16, dtype=torch.float64)
    episodes = Episodes(
        actions=steps[:, :7], states=steps, lengths=torch.tensor([2, 2]), system="robosuite:PickPlaceCan:kp=50"
    )
    made = changed_recipe(episodes, {"preparation": {"absolute_actions": True}}, synthesis=None, source="options")
    assert made.environment == "robosuite:PickPlaceCan:absolute,kp=50"
    given = {"preparation": {"absolute_actions": True}, "environment": "robosuite:Can"}
    made = changed_recipe(episodes, given, synthesis=None, source="options")
    assert made.environment == "robosuite:PickPlaceCan:absolute"
    given = {"preparation": {"absolute_actions": True}, "environment": "robosuite:Can"}
    made = changed_recipe(episodes, given, synthesis=None, source="options")
    assert made.environment == "robosuite:PickPlaceCan:absolute"
    assert changed_recipe(episodes, {}, synthesis=None, source="options").environment == "robosuite:PickPlaceCan:kp=50"
