"""Simulators in this process, or spread over worker processes, behind one interface.

A worker is another Python program that is given commands over a socket and answers over it. So a script that uses it
needs no `if __name__ == "__main__"`, and nothing is forked from a process with threads. It ends when the other end of
the socket is closed, thus with the process that started it.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

from ...cores import usable_cores
from ...data.robosuite_task import RobosuiteTask
from ...errors import HoldfastError, WorkerError
from .simulator import Reading, Simulator, robosuite, stacked

PROGRAM = "import sys; sys.path[:] = {path!r}; from holdfast.envs.robosuite.processes import serve; serve({end})"
Rows = Float64[ndarray, "b d"]
Shown = Mapping[str, Any]


class Simulators(Protocol):
    """Episodes of a task, as many as were asked for."""

    width: int
    widths: Mapping[str, int]

    def reset(self, seeds: Sequence[int]) -> Shown:
        """Begin one episode for each seed."""
        ...

    def place(self, states: Rows) -> Shown:
        """Move to states; see `Simulator.place`."""
        ...

    def step(self, actions: Rows, moves: Bool[ndarray, " b"]) -> Shown:
        """One control step of the episodes that move; the others show the same again."""
        ...

    def pictures(self, cameras: Mapping[str, tuple[int, int]]) -> Mapping[str, Any]:
        """Pictures of all episodes, by camera."""
        ...

    def close(self) -> None:
        """Release the simulators' resources."""
        ...


class Here(Simulators):
    """Simulators in this process."""

    def __init__(self, task: RobosuiteTask, count: int, cameras: Mapping[str, tuple[int, int]]) -> None:
        self._all = [Simulator(task, cameras) for _ in range(count)]
        self.width, self.widths = self._all[0].width, self._all[0].widths()
        self._now = list[Reading]()

    def reset(self, seeds: Sequence[int]) -> Shown:
        self._now = [one.reset(int(seed)) for one, seed in zip(self._all, seeds, strict=True)]
        return stacked(self._now)

    def place(self, states: Rows) -> Shown:
        self._now = [one.place(state) for one, state in zip(self._all, states, strict=True)]
        return stacked(self._now)

    def step(self, actions: Rows, moves: Bool[ndarray, " b"]) -> Shown:
        for number in np.flatnonzero(moves):
            self._now[number] = self._all[number].step(actions[number])
        return stacked(self._now)

    def pictures(self, cameras: Mapping[str, tuple[int, int]]) -> Mapping[str, Any]:
        drawn = [one.pictures(cameras) for one in self._all]
        return {name: np.stack([part[name] for part in drawn]) for name in cameras}

    def close(self) -> None:
        for one in self._all:
            one.close()


class Workers(Simulators):
    """Simulators spread over worker processes with one thread each."""

    def __init__(
        self, task: RobosuiteTask, count: int, cameras: Mapping[str, tuple[int, int]], *, processes: int
    ) -> None:
        shares = [part for part in np.array_split(np.arange(count), processes) if len(part)]
        self._cuts = np.cumsum([len(part) for part in shares])[:-1]
        self._workers = [_Worker() for _ in shares]
        try:
            made = self._answers_to([("make", task, len(part), dict(cameras)) for part in shares])
            self.width, self.widths = made[0]
        except BaseException:
            self.close()
            raise

    def reset(self, seeds: Sequence[int]) -> Shown:
        return self._asked("reset", [int(seed) for seed in seeds])

    def place(self, states: Rows) -> Shown:
        return self._asked("place", states)

    def step(self, actions: Rows, moves: Bool[ndarray, " b"]) -> Shown:
        return self._asked("step", actions, moves)

    def pictures(self, cameras: Mapping[str, tuple[int, int]]) -> Mapping[str, Any]:
        return _joined(self._answers_to([("pictures", dict(cameras)) for _ in self._workers]))

    def close(self) -> None:
        for worker in self._workers:
            worker.close()

    def _asked(self, command: str, *values: Any) -> Shown:
        """What all workers answer, each to its part of the values."""
        parts = [np.split(np.asarray(value), self._cuts) for value in values]
        return _joined(self._answers_to([(command, *mine) for mine in zip(*parts, strict=True)]))

    def _answers_to(self, messages: Sequence[tuple[Any, ...]]) -> list[Any]:
        """What the workers answer to a message each; if the wait is interrupted, for example by Ctrl-C, they are ended.

        An answer that was not read would be taken for that of the next command.
        """
        try:
            self._tell(messages)
            return self._answers()
        except (KeyboardInterrupt, SystemExit):
            self.close()
            raise

    def _answers(self) -> list[Any]:
        """The answer of each worker; all are read before an error is raised: none is left for the next command."""
        found, errors = list[Any](), list[HoldfastError]()
        for worker in self._workers:
            try:
                found.append(worker.answer())
            except HoldfastError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return found

    def _tell(self, messages: Sequence[tuple[Any, ...]]) -> None:
        # all before the first answer is awaited, so that they work at the same time
        for worker, message in zip(self._workers, messages, strict=True):
            worker.tell(message)


class _Worker:
    """A worker process, as its parent sees it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM.format(path=sys.path, end=theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
                # Ctrl-C is the parent's to answer; the worker ends with it
                start_new_session=True,
            )
        self._socket = Connection(ours.detach())

    def tell(self, message: tuple[Any, ...]) -> None:
        """Send a command."""
        try:
            self._socket.send(message)
        except OSError as error:
            raise self._ended() from error

    def answer(self) -> Any:
        """Wait for the answer.

        Raises:
            HoldfastError: An error of the worker.
            WorkerError: The worker has ended, or raised an error of another kind.
        """
        try:
            kind, value = self._socket.recv()
        except (EOFError, OSError) as error:
            raise self._ended() from error
        if kind == "error":
            raise value if isinstance(value, HoldfastError) else WorkerError(f"a simulator failed: {value}")
        return value

    def close(self) -> None:
        """End the process."""
        self._socket.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ended(self) -> WorkerError:
        return WorkerError(
            f"a worker process of the simulators ended (status {self._process.poll()}), for example because memory ran "
            "out or an earlier command was interrupted. Make the environment anew, with fewer processes or episodes if "
            "memory ran out."
        )


def simulators(
    task: RobosuiteTask, count: int, cameras: Mapping[str, tuple[int, int]], *, processes: int | None = None
) -> Simulators:
    """Simulators of a task.

    Args:
        task: Task, robot and controller.
        count: Number of episodes stepped together.
        cameras: Height and width of the pictures of each camera [px].
        processes: Number of worker processes; 0 keeps all simulators in this process. Default: one for each core that
            may be used, at most `count`; none where that would be one, or where programs cannot be given sockets.

    Raises:
        MissingExtraError: robosuite is not installed.
        RecipeError: It cannot make the task.
        WorkerError: A worker process has ended.
    """
    robosuite()  # a missing package is an error of this process
    given = usable_cores() if processes is None else processes
    wanted = min(count, given) if os.name == "posix" else 0
    if wanted <= (1 if processes is None else 0):
        return Here(task, count, cameras)
    return Workers(task, count, cameras, processes=wanted)


def serve(end: int) -> None:
    """Answer commands from a socket until it is closed: the main program of a worker process."""
    _limit_threads()
    made: Here | None = None
    with Connection(end) as parent:
        while (message := _next(parent)) is not None:
            command, *values = message
            try:
                if command == "make":
                    made = Here(*values)
                    found: tuple[str, Any] = ("answer", (made.width, made.widths))
                else:
                    found = ("answer", getattr(made, command)(*values))
            except Exception as error:  # every error is the parent's to raise
                own = isinstance(error, HoldfastError)
                found = ("error", error if own else f"{type(error).__name__}: {error}")
            if not _sent(parent, found):
                break
    if made is not None:
        made.close()


def _next(parent: Connection) -> tuple[Any, ...] | None:
    try:
        return parent.recv()
    except (EOFError, OSError):
        return None


def _sent(parent: Connection, answer: tuple[str, Any]) -> bool:
    """Whether the parent could be answered; it may have ended, or closed the socket while this process computed."""
    try:
        parent.send(answer)
    except OSError:
        return False
    return True


def _limit_threads() -> None:
    import torch  # imported with the package anyway

    torch.set_num_threads(1)


def _joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Answers of several workers as one."""
    return {
        name: _joined([part[name] for part in parts])
        if isinstance(value, dict)
        else np.concatenate([part[name] for part in parts])
        for name, value in parts[0].items()
    }
