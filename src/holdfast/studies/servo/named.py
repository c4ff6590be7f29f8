"""The tasks of study servo by name."""

from typing import assert_never

from .pusht_task import PushTTask
from .system_tasks import QuadrotorTask, ReachTask
from .tasks import ServoTask, TaskName

TASK_NAMES: dict[TaskName, str] = {"reach": "Reach", "quadrotor2d": "Quadrotor", "pusht": "Push-T"}
"""Names in figures and sentences."""


def task_named(name: TaskName, data: str = "") -> ServoTask:
    """A task of the study; `data` is the place of the demonstrations of Push-T."""
    match name:
        case "reach":
            return ReachTask()
        case "quadrotor2d":
            return QuadrotorTask()
        case "pusht":
            return PushTTask(data)
        case _:
            assert_never(name)
