"""Simulated robots and demonstrators for the tests of consistency, clean or with one cause planted.

Each robot is a function of a random generator and options that returns one episode: states [T, n], actions [T, m].
The planted causes change the robot, the recording or the demonstrator, as they would in reality.
"""

from dataclasses import dataclass, replace

import numpy as np

from .robot_parts import ignored, joined, played, rubbed


@dataclass(frozen=True)
class Setup:
    """What a set of demonstrations is made with; the defaults plant nothing."""

    robot: str = "servo"
    count: int = 40
    length: int = 80
    dt: float = 0.05
    hand: float = 0.0
    sensor: float = 0.0
    speed: float = 1.0
    varied: bool = False
    dtype: type = np.float32
    limit: float = np.inf
    stiction: float = 0.0
    play: float = 0.0
    gain: float = 1.0
    smooth: float = 0.0
    turn: float = 0.0
    miss: float = 0.0
    lag: int = 0


def episode(setup, rng):
    """One episode: states and actions, in double precision, with the noise of sensors and hand."""
    length = int(setup.length * (rng.uniform(0.6, 1.4) if setup.varied else 1))
    states, actions = ROBOTS[setup.robot](setup, rng, length)
    moving = (np.diff(states, axis=0) != 0).mean(axis=0) > 0.5
    states = states + setup.sensor * moving * rng.normal(size=states.shape)
    return states.astype(setup.dtype), actions.astype(setup.dtype)


def hand_noise(setup, rng, length, width):
    """White noise of the hand, or noise with memory of `smooth` a step and the same size."""
    noise = rng.normal(size=(length, width))
    for t in range(1, length):
        noise[t] = setup.smooth * noise[t - 1] + np.sqrt(1 - setup.smooth**2) * noise[t]
    return setup.hand * noise


def aim(setup, goals, t, length):
    """The demonstrator's aim: the first goal, then the second, which a failing demonstrator misses by `miss`."""
    return goals[0] if t < length // 2 else goals[1] + setup.miss


FADED = 0.6
"""Friction in motion, as a fraction of that at rest."""


def servo(setup, rng, length):
    """Position servo in the plane: x, v and goal; the action is the target, which moves ahead of the robot.

    The demonstrator goes to the goal, then to a second one, so that commands reverse.
    """
    x, v = rng.uniform(-1, 1, 2), np.zeros(2)
    goals = rng.uniform(-1, 1, (2, 2))
    noise, states, actions = hand_noise(setup, rng, length, 2), [], []
    gear, queue = x.copy(), [x.copy()] * (setup.lag + 1)
    for t in range(length):
        goal = aim(setup, goals, t, length)
        away = goal - x
        away = np.array(
            [
                np.cos(setup.turn) * away[0] - np.sin(setup.turn) * away[1],
                np.sin(setup.turn) * away[0] + np.cos(setup.turn) * away[1],
            ]
        )
        a = x + setup.speed * 0.4 * away + noise[t]
        states.append(np.concatenate([x, v, goals[int(t >= length // 2)]]))
        actions.append(a)
        queue.append(a)
        gear = played(queue[-1 - setup.lag], gear, setup.play)
        for _ in range(4):
            pull = np.clip(setup.gain * 40 * (gear - x), -setup.limit, setup.limit)
            free = v + setup.dt / 4 * (pull - 12 * v)
            v = np.where(
                (v == 0) & (np.abs(pull) < setup.stiction), 0.0, rubbed(free, FADED * setup.dt / 4 * setup.stiction)
            )
            x = x + setup.dt / 4 * v
    return np.stack(states), np.stack(actions)


def force(setup, rng, length):
    """Force on a mass with damping: x, v, goal; the action is a force that brings it to the goal."""
    x, v, goals = rng.uniform(-1, 1), 0.0, rng.uniform(-1, 1, 2)
    noise, states, actions = hand_noise(setup, rng, length, 1)[:, 0], [], []
    late = [0.0] * (setup.lag + 1)
    for t in range(length):
        goal = aim(setup, goals, t, length)
        a = setup.speed * 9 * (goal - x) - 5 * v + noise[t]
        states.append([x, v, goals[int(t >= length // 2)]])
        actions.append([a])
        late.append(a)
        pull = setup.gain * np.clip(late[-1 - setup.lag], -setup.limit, setup.limit)
        free = v + setup.dt * (pull - 0.5 * v)
        v = 0.0 if v == 0 and abs(pull) < setup.stiction else rubbed(free, FADED * setup.dt * setup.stiction)
        x = x + setup.dt * v
    return np.array(states), np.array(actions)


def velocity(setup, rng, length):
    """Velocity commands to three joints: positions and goal; the robot integrates what it is told."""
    x, goals = rng.uniform(-1, 1, 3), rng.uniform(-1, 1, (2, 3))
    motor, noise, states, actions = x.copy(), hand_noise(setup, rng, length, 3), [], []
    late = [np.zeros(3)] * (setup.lag + 1)
    for t in range(length):
        goal = aim(setup, goals, t, length)
        a = 1.5 * setup.speed * np.tanh(2 * (goal - x)) + noise[t]
        states.append(np.concatenate([x, goals[int(t >= length // 2)]]))
        actions.append(a)
        late.append(a)
        command = setup.gain * np.clip(late[-1 - setup.lag], -setup.limit, setup.limit)
        command = ignored(command, setup.stiction, hard=True)
        motor = motor + setup.dt * command
        x = played(motor, x, setup.play)
    return np.stack(states), np.stack(actions)


def pendulum(setup, rng, length):
    """Two driven pendulums with sin terms: a nonlinear robot; angles, rates and goals."""
    q, w, goal = rng.uniform(-1, 1, 2), np.zeros(2), rng.uniform(-1, 1, 2)
    noise, states, actions = hand_noise(setup, rng, length, 2), [], []
    for t in range(length):
        a = setup.speed * 12 * (goal - q) - 6 * w + 4 * np.sin(q) + noise[t]
        states.append(np.concatenate([q, w, goal]))
        actions.append(a)
        pull = setup.gain * np.clip(a, -setup.limit, setup.limit)
        w = w + setup.dt * (pull - 4 * np.sin(q) - np.array([0.3, -0.3]) * np.sin(q[0] - q[1]))
        q = q + setup.dt * w
    return np.stack(states), np.stack(actions)


def gripper(setup, rng, length):
    """A servo with a gripper that closes at the object and a goal for it: x(3), opening, object(3)."""
    x, width, thing = rng.uniform(-1, 1, 3), 1.0, rng.uniform(-1, 1, 3)
    noise, states, actions = hand_noise(setup, rng, length, 3), [], []
    for _ in range(length):
        closed = 0.0 if np.linalg.norm(x - thing) < 0.1 else 1.0
        target = x + np.clip(thing + setup.miss - x, -0.3, 0.3) * setup.speed + noise[len(states)]
        states.append(np.concatenate([x, [width], thing]))
        actions.append(np.concatenate([target, [closed]]))
        x = x + 0.3 * np.clip(setup.gain * (target - x), -setup.limit, setup.limit)
        width = width + 0.3 * (closed - width)
    return np.stack(states), np.stack(actions)


def ways(setup, rng, length):
    """A point that passes an obstacle on the left or on the right, at random."""
    x, side = np.array([-1.0, rng.uniform(-0.2, 0.2)]), rng.choice([-1.0, 1.0])
    noise, states, actions = hand_noise(setup, rng, length, 2), [], []
    for t in range(length):
        a = setup.speed * np.array([1.0, 4 * (side * 0.5 * np.exp(-8 * x[0] ** 2) - x[1])]) * (x[0] < 1) + noise[t]
        states.append(x)
        actions.append(a)
        x = x + setup.dt * setup.gain * np.clip(a, -setup.limit, setup.limit)
    return np.stack(states), np.stack(actions)


ROBOTS = {"servo": servo, "force": force, "velocity": velocity, "pendulum": pendulum, "gripper": gripper, "ways": ways}


def recorded(setup, *, seed=0, later=None, since=None, **other):
    """A set of episodes, of another setup from an episode on."""
    rng = np.random.default_rng(seed)
    parts = [episode(setup if later is None or e < since else later, rng) for e in range(setup.count)]
    return joined(parts, setup.dt, **other)


def parts_of(episodes):
    """Copies of the states and actions of each episode."""
    lengths = episodes.lengths.tolist()
    return [
        (s.numpy().copy(), a.numpy().copy())
        for s, a in zip(episodes.states.split(lengths), episodes.actions.split(lengths), strict=True)
    ]


def changed(setup, **fields):
    """The setup with other fields."""
    return replace(setup, **fields)
