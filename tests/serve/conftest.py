"""Servers of tiny policies, in a thread of this process, and clients of the raw protocol."""

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from websockets.sync.client import connect

from holdfast.data import Actions, Affine, MinMax, width
from holdfast.models import Diffusion, Sampler
from holdfast.nn import FilmMlp
from holdfast.policy import Coordinates, Execution, Planner, Policy, PolicyInterface, PolicySpec, build_model
from holdfast.serve.limits import Limits
from holdfast.serve.server import Server
from holdfast.serve.wire import pack, unpack


def unit(count):
    return MinMax(low=-torch.ones(count), high=torch.ones(count))


def planner(codec, *, sizes, interface=None, model=None, **more):
    """An untrained planner of tiny networks; sizes are those of state, action and observation."""
    n_states, n_actions, n_observed = sizes
    network = FilmMlp(widths=(16, 16), embedding=8)
    spec = PolicySpec(
        n_states=n_states,
        n_actions=n_actions,
        n_observed=n_observed,
        codec=codec,
        model=model or Diffusion(network=network, levels=10, sampler=Sampler(steps=4, eta=1.0)),
        horizon=8,
        **more,
    )
    codes = unit(width(codec, n_states, n_actions))
    return Planner(spec, build_model(spec, seed=0), unit(n_observed), codes, interface)


@pytest.fixture(scope="session")
def make_planner():
    return planner


@pytest.fixture(scope="session")
def gains_planner():
    """Gains, two observations a window, names; the robot has 3 of the 4 observed coordinates."""
    names = ("x", "y", "z", "goal")
    low, high = (-1.0,) * 4, (1.0,) * 4
    interface = PolicyInterface(
        observation=Coordinates(low=low, high=high, names=names, first_low=low, first_high=high),
        state=Coordinates(low=low[:3], high=high[:3], names=names[:3]),
        action=Coordinates(low=low[:2], high=high[:2]),
        n_robot=3,
        dt=0.05,
        episodes=9,
    )
    execution = Execution(n_action_steps=4, sigma_deploy=0.1, clip_observation=1.0)
    return planner(Affine(), sizes=(3, 2, 4), interface=interface, n_obs_steps=2, execution=execution)


@pytest.fixture
def gains_policy(gains_planner):
    return Policy(gains_planner)


@pytest.fixture(scope="session")
def actions_planner():
    """Actions alone, with limits that matter: 3 numbers observed, 2 actions, chunks of 8, no names."""
    execution = Execution(n_action_steps=4, sigma_deploy=0.05, action_low=(-0.5, -0.5), action_high=(0.5, 0.5))
    return planner(Actions(), sizes=(3, 2, 3), n_obs_steps=1, execution=execution)


@pytest.fixture
def actions_policy(actions_planner):
    return Policy(actions_planner)


class Running:
    """A server in a thread; `call` runs a coroutine in its event loop."""

    def __init__(self, policy, **options):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = Server(policy, port=options.pop("port", 0), **options)
        self.call(self.server.start())

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.server.port}"

    def call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def stop(self):
        if self.loop.is_running():
            self.call(self.server.stop())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(10)


def starting():
    """A function that starts servers, which are stopped at the end."""
    started = []

    def start(policy, **options):
        started.append(Running(policy, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def serving():
    """serving(policy, **options) starts a server, which ends with the test."""
    yield from starting()


@pytest.fixture(scope="module")
def serving_all():
    """As `serving`, for all tests of a file."""
    yield from starting()


@pytest.fixture(scope="module")
def shared(serving_all, actions_planner):
    """One server of actions alone for the tests of a file."""
    return serving_all(Policy(actions_planner))


@contextmanager
def talking(url, **options):
    """A raw websocket after its metadata, with `ask(message)`."""
    with connect(url, compression=None, **options) as socket:
        metadata = unpack(socket.recv(timeout=20))

        def ask(message):
            socket.send(message if isinstance(message, bytes) else pack(message))
            reply = socket.recv(timeout=20)
            return reply if isinstance(reply, str) else unpack(reply)

        ask.metadata, ask.socket = metadata, socket
        yield ask


@pytest.fixture
def talk():
    return talking


@pytest.fixture
def quick_limits():
    return replace(Limits(), opening=0.5, sending=0.5, heartbeat=1.0, closing=5.0)
