"""Client of a policy server, with the policy's own verbs.

    with Client("ws://127.0.0.1:8000") as policy:
        policy.reset()
        action = policy.select_action({"observation.state": state})

The client holds what an episode needs, the past observations and the running plan, so that it goes on after the server
was restarted: it connects anew, waiting longer after every failure, and sends its whole window.
"""

import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..errors import ActionError, InterfaceWarning, ServerError, ShapeError, positive
from .addresses import check_url, token_header
from .chunks import Chunk, Numbers, Running
from .link import Broken, Link, Refused
from .seen import check_seen, copied, stacked, wrong_pictures
from .wire import BUSY, OPTIONS, pack, unpack

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


class Client:
    """A policy that computes elsewhere: `holdfast serve`, or any server of openpi's protocol for whole plans.

    Args:
        url: Address of the server.
        token: Secret of the server's `--token-file`, if it has one.
        timeout: Seconds to wait for one reply [s]; then the connection is given up, and another one made.
        patience: Seconds for which a request is tried again while the server cannot be reached or is busy [s].

    Raises:
        ServerError: The address is not one of a server, which cannot be reached within `patience`, or refuses the
            connection.
        RecipeError: The token is no line of visible characters.
    """

    def __init__(
        self,
        url: str = "ws://127.0.0.1:8000",
        *,
        token: str | None = None,
        timeout: float = 10.0,
        patience: float = 60.0,
    ) -> None:
        positive(timeout=timeout, patience=patience)
        check_url(url)
        self.url, self.timeout, self.patience = url, timeout, patience
        self._link = Link(url, token_header(token))
        self._connected = False
        self._resets: dict[str, Any] = {"reset": True}
        try:
            self.metadata: dict[str, Any] = self._trying(self._connect)
        except BaseException:
            self._link.close()
            raise
        self._window = deque[dict[str, Any]](maxlen=self.metadata.get("n_obs_steps") or 1)
        self.running = _running(self.metadata)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._link.close()

    def reset(self, seed: int | None = None) -> None:
        """Start a new episode; a seed restarts the policy's randomness, `None` continues it."""
        self._window.clear()
        self.running.clear()
        self._resets = {"reset": True} if seed is None else {"reset": True, "seed": seed}

    def select_action(self, observation: Any, state: Any = None) -> Numbers:
        """Next action `[m]`; asks the server for a plan when the steps of the last one are executed.

        Args:
            observation: As in `Policy.select_action`, of one episode.
            state: Feedback state `[n]` of the controllers. Default: `observation.state`.

        Raises:
            ServerError: The server refuses the observation, or would refuse it at the next plan, or cannot be reached
                within `patience`.
            ActionError: The action would not be finite.
        """
        seen = self._copied(observation)
        feedback = self._feedback(seen, state)
        window = [*self._window, seen][-self.n_obs_steps :]
        if self.running.needs_plan:
            reply = self._plan(window, self._resets)
            self._resets = {}
            self.running.take(Chunk.of(reply))
        else:
            # what the server would refuse at the next plan, in the middle of a motion
            check_seen(seen, feedback, self.metadata)
        # an observation that was refused is none of the episode
        self._window.append(seen)
        action = self.running.act(feedback)
        if not np.isfinite(action).all():
            raise ActionError(f"the action would hold {action.tolist()}: it was not handed out. Check the state.")
        return action

    def predict_action_chunk(self, observation: Any) -> Numbers:
        """Reference actions ū `[h, m]` of a plan; the episode's window and randomness do not change."""
        return self._aside(observation)["actions"]

    def predict_controllers(self, observation: Any) -> Chunk:
        """Composite action `[h]` of a plan; the episode's window and randomness do not change.

        Without gains, its reference actions are within the limits.
        """
        return Chunk.of(self._aside(observation))

    def plan(
        self, observations: Sequence[Any], *, executed: int | None = None, delay: int = 0, way: str | None = None
    ) -> Chunk:
        """Composite action `[h]` of a plan for the last observations, oldest first; the session's randomness goes on.

        For programs that keep the window and execute the plan themselves, such as `ControlLoop`.

        Args:
            observations: The last observations.
            executed: Steps of the last plan that were executed before the newest observation, for a plan that continues
                that one. Default: a plan by itself. The first plan of an episode, or after a lost connection, is one.
            delay: Steps that are executed until the new plan can run.
            way: How it continues, one of `metadata["continuing"]`. Default: the first of them.

        Raises:
            ServerError: The server refuses the observations, or cannot be reached within `patience`.
        """
        given = {"executed": executed, "delay": delay, **({} if way is None else {"way": way})}
        continued = {} if executed is None else given
        reply = self._plan([self._copied(seen) for seen in observations], {**self._resets, **continued})
        self._resets = {}
        return Chunk.of(reply)

    def state_of(self, observation: Any, state: Any = None) -> Numbers:
        """Feedback state `[n]` of an observation in any form; a given state is copied."""
        return self._feedback(self._copied(observation), state)

    @property
    def n_obs_steps(self) -> int:
        """Number of observations in a window."""
        return self._window.maxlen or 1

    def _copied(self, observation: Any) -> dict[str, Any]:
        about: Mapping[str, Any] = self.metadata.get("observation") or {}
        return copied(observation, about.get("depth") or {})

    def _aside(self, observation: Any) -> dict[str, Any]:
        window = [*self._window, self._copied(observation)][-self.n_obs_steps :]
        return self._plan(window, {**self._resets, "aside": True})

    def _plan(self, window: Sequence[dict[str, Any]], options: dict[str, Any]) -> dict[str, Any]:
        """The server's plan for some observations, asked for until it comes or the patience ends."""
        wrong = wrong_pictures(window[-1], self.metadata.get("observation") or {})
        # pictures of another kind cannot stand beside those of the window; alone, the server says what they are
        message = stacked(window[-1:] if wrong else window)
        data = pack({**message, OPTIONS: options} if "protocol" in self.metadata and options else message)
        if len(data) > (most := self.metadata.get("max_message_bytes", len(data))):
            # the server would end the connection, and would be asked again
            told = f"the message has {len(data):,} bytes, and the server takes at most {most:,}. "
            rest = wrong[0] if wrong else "Send the observation that the policy was trained on, of one episode."
            raise ServerError(f"{self.url}: {told}{rest}")
        reply = self._trying(partial(self._asked, data))
        if options.get("reset"):
            for sentence in reply.get("warnings", ()):
                warnings.warn(str(sentence), InterfaceWarning, stacklevel=4)
        return reply

    def _trying(self, attempt: Callable[[float], dict[str, Any]]) -> dict[str, Any]:
        """The result of an attempt, tried again after failures of the connection."""
        deadline, pause = time.monotonic() + self.patience, _FIRST_PAUSE
        while True:
            try:
                return attempt(max(deadline - time.monotonic(), 0.001))
            except Refused as error:
                raise ServerError(f"{self.url}: {error}.") from error
            except Broken as error:
                if time.monotonic() + pause > deadline:
                    raise ServerError(
                        f"{self.url} could not be reached within {self.patience:.3g} s ({error}). Is the server "
                        "running? Start it with: holdfast serve RUN"
                    ) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _connect(self, remaining: float) -> dict[str, Any]:
        metadata = self._link.connect(min(self.timeout, remaining))
        self._connected = True
        return metadata

    def _asked(self, data: bytes, remaining: float) -> dict[str, Any]:
        if not self._connected:
            self._check_same(self._connect(remaining))
        try:
            reply = self._link.ask(data, min(self.timeout, remaining))
        except BaseException:
            # also after Ctrl-C: a late reply would be taken for that of the next request
            self._disconnect()
            raise
        if isinstance(reply, bytes):
            return unpack(reply)
        if reply.startswith(BUSY):
            raise Busy(reply)
        raise ServerError(reply)

    def _disconnect(self) -> None:
        self._connected = False
        self._link.drop()

    def _check_same(self, metadata: dict[str, Any]) -> None:
        """Refuse another policy in the middle of an episode; its seed may be another one."""
        changed = sorted(key for key in {*metadata, *self.metadata} if metadata.get(key) != self.metadata.get(key))
        if [key for key in changed if key != "seed"]:
            self._disconnect()
            raise ServerError(
                f"{self.url} serves another policy since the connection was lost (other {', '.join(changed)}). Make a "
                "new Client."
            )
        self.metadata = metadata

    def _feedback(self, seen: Mapping[str, Any], state: Any) -> Numbers:
        """State `[n]` at which the controllers are evaluated, of an observation by name."""
        if state is not None:
            return np.array(state, dtype=np.float64)
        if "observation.state" in seen or not self.metadata.get("controllers"):
            return np.asarray(seen.get("observation.state", ()), dtype=np.float64)
        if self.metadata["observation"].get("names") is None:
            raise ServerError(
                f"the policy feeds back a state of {self.metadata['state']['shape'][0]} numbers, but was given "
                f"{', '.join(seen) or 'nothing'}. Give state=…, or observation.state."
            )
        return _by_name(seen, self.metadata["observation"])


class Busy(Broken):
    """The server accepts no request now; its connection is as before."""


def _running(metadata: Mapping[str, Any]) -> Running:
    """Execution of the server's plans; a server without Holdfast's metadata leaves all steps to be executed."""
    about: Mapping[str, Any] = metadata.get("action") or {}
    low, high = (about.get(name) for name in ("limits_low", "limits_high"))
    return Running(
        every=metadata.get("n_action_steps") or 1,
        ensemble=metadata.get("ensemble"),
        low=None if low is None else np.array(low),
        high=None if high is None else np.array(high),
        rotations=[(int(first), str(form)) for first, form in about.get("rotations") or ()],
    )


def _by_name(seen: Mapping[str, Any], about: Mapping[str, Any]) -> Numbers:
    """The robot's coordinates of an observation of named quantities."""
    from ..policy.named_observation import by_name  # here, because it imports PyTorch

    vector = by_name(dict(seen), tuple(about["names"])).double().numpy()
    if vector.ndim != 1:
        raise ShapeError(
            f"expected named quantities of one episode, got {len(vector)} values of some. Use a Client for each "
            "episode; the server plans for several together."
        )
    return vector[: about["keys"]["observation.state"]]
