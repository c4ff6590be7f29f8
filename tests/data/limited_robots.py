"""Three robots whose limits, calibration, play and operators are planted: a servo arm, a mobile base, a pendulum.

The arm is driven by targets of its joints, the base by velocities (in its own frame, or in that of the room), the
pendulum by torques against gravity. All episodes of a set are simulated together, each towards two goals in turn.
"""

from dataclasses import dataclass

import numpy as np

from .robot_parts import cut, played, shortened, turned


@dataclass(frozen=True)
class Plan:
    """A set of demonstrations; the defaults plant nothing.

    Attributes:
        robot: "arm", "base" (twist in its own frame), "room" (velocities in the room) or "pendulum".
        limit: What the robot executes at most, as a quantile of what is asked of it: a target's distance, a velocity,
            a torque. 1 is no limit.
        rates: Whether velocities are observed.
        heading: Offset of the heading of the last episode, which grows from the first on [rad].
        step: Whether the offset steps instead, at 60 % of the episodes.
        exchanged: Whether x and y of the base are exchanged in the observations.
        play: Width of the play between motor and joint, or wheel and base.
        second: How a second operator, who records half of the episodes, differs: factors of "speed", "gain" and "hand".
    """

    robot: str = "arm"
    seed: int = 0
    count: int = 40
    length: int = 120
    hand: float = 0.05
    sensor: float = 0.0005
    rates: bool = True
    shown: bool = True
    limit: float = 1.0
    heading: float = 0.0
    step: bool = False
    exchanged: bool = False
    play: float = 0.0
    second: tuple[tuple[str, float], ...] = ()


KINDS = ("arm", "base", "room", "pendulum")


def planned(plan):
    """The data set, and which episodes the second operator recorded."""
    rng = np.random.default_rng([plan.seed, KINDS.index(plan.robot)])
    other = rng.permutation(plan.count) < plan.count // 2
    level = np.inf
    if plan.limit < 1:
        # what a free robot is asked for gives the limit its size
        _, _, asked = simulated(plan, np.random.default_rng([plan.seed, 7]), np.inf, other)
        level = np.quantile(np.abs(asked), plan.limit, axis=(0, 1))
    states, actions, _ = simulated(plan, np.random.default_rng([plan.seed, 7]), level, other)
    lengths = rng.integers(int(0.75 * plan.length), plan.length + 1, plan.count)
    made = shortened(states, actions, lengths, 0.05)
    return made, np.flatnonzero(other)


def simulated(plan, rng, level, other):
    """States and actions [episodes, steps, ·], and what was asked of the robot, before its limit."""
    e = plan.count
    style = dict(plan.second)
    speed, gain, hand = (np.where(other, style.get(name, 1.0), 1.0)[:, None] for name in ("speed", "gain", "hand"))
    robot = ROBOTS[plan.robot](plan, rng, level)
    goals = rng.uniform(-1, 1, (2, e, robot.width)) * robot.room
    speed = speed * np.exp(0.1 * rng.normal(size=(e, 1)))
    noise, states, actions, asked = np.zeros((e, robot.width)), [], [], []
    for t in range(plan.length):
        goal = goals[int(t >= plan.length // 2)]
        noise = 0.7 * noise + 0.7 * rng.normal(size=noise.shape)
        wanted = speed * np.tanh(1.5 * gain * (goal - robot.place())) + hand * plan.hand * noise
        states.append(np.concatenate([robot.seen(), *([goal] if plan.shown else [])], axis=1))
        action, command = robot.step(wanted)
        actions.append(action)
        asked.append(command)
    states = np.stack(states, axis=1)
    width = robot.seen().shape[1]
    states[:, :, :width] += plan.sensor * rng.normal(size=states[:, :, :width].shape)
    if plan.exchanged:
        states[:, :, [0, 1]] = states[:, :, [1, 0]]
    return states, np.stack(actions, axis=1), np.stack(asked, axis=1)


class Arm:
    """Three joints with servos; the action is the target of each joint."""

    width, room = 3, 1.0

    def __init__(self, plan, rng, level):
        self.plan, self.level = plan, level
        self.q = rng.uniform(-1, 1, (plan.count, 3))
        self.motor, self.v = self.q.copy(), np.zeros_like(self.q)
        self.stiff, self.damp = rng.uniform(25, 60, 3), rng.uniform(1.2, 2, 3)

    def place(self):
        return self.q

    def seen(self):
        return np.concatenate([self.q, self.v], axis=1) if self.plan.rates else self.q

    def step(self, wanted):
        action = self.q + 0.3 * wanted
        asked = action - self.motor
        for _ in range(4):
            push = self.stiff * cut(action - self.motor, self.level)
            self.v = self.v + 0.0125 * (push - self.damp * np.sqrt(self.stiff) * self.v)
            self.motor = self.motor + 0.0125 * self.v
        self.q = played(self.motor, self.q, self.plan.play)
        return action, asked


class Base:
    """A base with x, y and heading; the action is its twist, in its own frame or (`Room`) in that of the room."""

    width, room, own = 3, 2.0, True

    def __init__(self, plan, rng, level):
        self.plan, self.level = plan, level
        e = plan.count
        self.at = np.concatenate([rng.uniform(-2, 2, (e, 2)), rng.uniform(-2, 2, (e, 1))], axis=1)
        self.wheels, self.v = self.at.copy(), np.zeros((e, 3))
        self.quick = rng.uniform(0.5, 0.9)
        along = np.arange(e) / max(e - 1, 1)
        self.offset = plan.heading * ((along > 0.6) if plan.step else along)

    def place(self):
        return self.at

    def seen(self):
        # the frame of the odometry is turned against the one in which the base moves
        x, y = turned(self.at[:, :2], self.offset).T
        heading = self.at[:, 2] + (0 if self.own else self.offset)
        return np.stack([x, y, heading], axis=1)

    def step(self, wanted):
        action = wanted * 0.8
        if self.own:
            action = np.concatenate([turned(action[:, :2], -self.at[:, 2]), action[:, 2:]], axis=1)
        self.v = self.v + self.quick * (cut(action, self.level) - self.v)
        moved = turned(self.v[:, :2], self.at[:, 2]) if self.own else self.v[:, :2]
        self.wheels = self.wheels + 0.05 * np.concatenate([moved, self.v[:, 2:]], axis=1)
        self.at = played(self.wheels, self.at, self.plan.play)
        return action, action


class Room(Base):
    own = False


class Pendulum:
    """Two joints that hang, driven by torques."""

    width, room = 2, 1.0

    def __init__(self, plan, rng, level):
        self.plan, self.level = plan, level
        self.q = rng.uniform(-1, 1, (plan.count, 2))
        self.motor, self.v = self.q.copy(), np.zeros_like(self.q)
        self.mass = rng.uniform(0.7, 1.4, 2)

    def place(self):
        return self.q

    def seen(self):
        return np.concatenate([self.q, self.v], axis=1) if self.plan.rates else self.q

    def step(self, wanted):
        pull = 4 * np.sin(self.q)
        action = self.mass * 5 * (1.5 * wanted - self.v) + pull
        self.v = self.v + 0.05 * (cut(action, self.level) - pull - 0.5 * self.v) / self.mass
        self.motor = self.motor + 0.05 * self.v
        self.q = played(self.motor, self.q, self.plan.play)
        return action, action


ROBOTS = {"arm": Arm, "base": Base, "room": Room, "pendulum": Pendulum}
