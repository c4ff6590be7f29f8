"""Small synthetic robots with several joints, clean or with one cause planted, for the rates at which causes are found.

A draw is made of a robot (how a command moves it), a demonstrator (speeds, ways, noise of the hand, pauses) and a
recording (noise of the sensors, recorded rates, varied lengths). All episodes are simulated together. The clean draws
vary what may differ in good demonstrations: the speed of each episode, the way around an obstacle, pauses, hands.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from .robot_parts import ignored, played, rubbed, shortened

ROBOTS = {
    # how commands act, number of joints, time step [s]
    "servo6": ("servo", 6, 0.05),
    "follower4": ("follower", 4, 0.1),
    "velocity6": ("velocity", 6, 0.05),
    "twist3": ("integrator", 3, 0.1),
    "force2": ("force", 2, 0.05),
    "torque2": ("torque", 2, 0.02),
    "delta3": ("delta", 3, 0.05),
}
REACH, CLOSE = 0.8, 0.15


@dataclass(frozen=True)
class Draw:
    """A set of demonstrations; the defaults plant nothing."""

    robot: str = "servo6"
    seed: int = 0
    count: int = 40
    length: int = 120
    hand: float = 0.05
    memory: float = 0.7
    sensor: float = 0.0005
    spread: float = 0.2
    rates: bool = True
    ways: bool = False
    pauses: bool = False
    varied: bool = True
    shown: bool = True
    # what is planted
    friction: float = 0.0
    hard: bool = False
    play: float = 0.0
    after: bool = False
    drift: float = 0.0
    joint: int = 1
    steps: bool = False
    reading: bool = True
    style: dict = field(default_factory=dict)
    operator: str = ""
    blocks: bool = False
    failures: float = 0.0
    wrong: int = 0
    flags: str = ""


def made(draw):
    """The data set, and who is who: the second operator's episodes, the failed ones, the wrongly labelled ones."""
    rng = np.random.default_rng(abs(hash((draw.seed, list(ROBOTS).index(draw.robot)))) % 2**32)
    count = draw.count
    second = np.arange(count) >= count // 2 if draw.blocks else rng.permutation(count) < count // 2
    failed = rng.permutation(count) < round(draw.failures * count)
    states, actions, lengths, away = _simulated(draw, rng, second & bool(draw.style), failed)
    # what happened decides, not what was intended
    failed = away > CLOSE if draw.failures else failed
    offset = _offsets(draw)
    if draw.reading:
        states[:, :, draw.joint] += offset[:, None]
    else:
        actions[:, :, draw.joint] += offset[:, None]
    columns = {}
    if draw.operator:
        columns[draw.operator] = tuple("ab"[int(other)] for other in second)
    labels, wrong = ~failed, np.zeros(0, dtype=int)
    if draw.wrong:
        bad = rng.permutation(np.flatnonzero(failed))[: -(-draw.wrong // 2)]
        good = rng.permutation(np.flatnonzero(~failed))[: draw.wrong // 2]
        wrong = np.sort(np.concatenate([bad, good]))
        labels = labels.copy()
        labels[wrong] = ~labels[wrong]
    if draw.flags:
        columns["success"] = torch.tensor(labels if draw.flags != "all" else np.ones(count, dtype=bool))
    episodes = shortened(states, actions, lengths, ROBOTS[draw.robot][2], episode_columns=columns)
    return episodes, {"second": np.flatnonzero(second), "failed": np.flatnonzero(failed), "wrong": wrong}


def _offsets(draw):
    along = np.arange(draw.count) / max(draw.count - 1, 1)
    return draw.drift * ((along > 0.6).astype(float) if draw.steps else along)


def _simulated(draw, rng, second, failed):
    kind, n, dt = ROBOTS[draw.robot]
    e, most = draw.count, int(draw.length * 1.3)
    lengths = np.rint(draw.length * rng.uniform(0.75, 1.3, e)).astype(int) if draw.varied else np.full(e, draw.length)
    plant = _Plant(draw, kind, rng.uniform(-REACH, REACH, (e, n)), dt, rng)
    first, last = rng.uniform(-REACH, REACH, (2, e, n))
    miss = failed[:, None] * rng.choice([-1.0, 1.0], (e, n)) * rng.uniform(0.2, 0.5, (e, n))
    speed = np.exp(draw.spread * rng.normal(size=e)) * np.where(second, draw.style.get("speed", 1.0), 1.0)
    turn = np.where(second, draw.style.get("turn", 0.0), 0.0)
    hand = draw.hand * np.where(second, draw.style.get("hand", 1.0), 1.0)
    side = rng.choice([-1.0, 1.0], e) if draw.ways else np.where(second, draw.style.get("way", 0.0), 0.0)
    stop = rng.uniform(0.2, 0.7, e) if draw.pauses else np.full(e, 2.0)
    noise, states, actions = rng.normal(size=(e, n)), [], []
    for t in range(most):
        noise = draw.memory * noise + np.sqrt(1 - draw.memory**2) * rng.normal(size=(e, n))
        part = t / lengths
        late = (part >= 0.5)[:, None]
        goal = np.where(late, last + miss, first)
        away = goal - plant.q
        swung = np.roll(away, 1, axis=1) * np.where(np.arange(n) % 2, 1.0, -1.0)
        away = away + np.sin(turn)[:, None] * swung
        # a way around the middle: a push across the straight line, largest half-way
        bump = side * 0.6 * np.exp(-(((part % 0.5) - 0.15) ** 2) / 0.005)
        away = away + bump[:, None] * np.sign(np.arange(n) % 2 - 0.5)
        wanted = speed[:, None] * 0.8 * np.tanh(1.5 * away) + hand[:, None] * noise
        wanted = wanted * ((part < stop) | (part > stop + 0.08))[:, None]
        reading = [plant.q, plant.v] if draw.rates and kind not in ("integrator", "follower") else [plant.q]
        goals = np.where(late, last, first)
        states.append(np.concatenate([*reading, *([goals] if draw.shown else [])], axis=1))
        actions.append(plant.step(wanted))
    states, actions = np.stack(states, axis=1), np.stack(actions, axis=1)
    width = states.shape[2] - (n if draw.shown else 0)
    ends = states[np.arange(e), lengths - 1, :n]
    away = np.sqrt(((ends - last) ** 2).mean(axis=1))
    states[:, :, :width] += draw.sensor * rng.normal(size=states[:, :, :width].shape)
    return states, actions, lengths, away


class _Plant:
    """Robots that receive the command for a wanted velocity, and move."""

    def __init__(self, draw, kind, q, dt, rng):
        self.draw, self.kind, self.dt = draw, kind, dt
        self.q, self.v, self.motor, self.loose = q.copy(), np.zeros_like(q), q.copy(), q.copy()
        self.stiff = rng.uniform(30, 70, q.shape[1])
        self.quick = rng.uniform(0.3, 0.6, q.shape[1])
        self.mass = rng.uniform(0.7, 1.5, q.shape[1])

    def step(self, wanted):
        """Applies the command for the wanted velocity; returns the command."""
        return getattr(self, f"_{self.kind}")(wanted)

    def _gap(self, target):
        self.loose = played(target, self.loose, self.draw.play)
        return self.loose

    def _pull(self, target, sub=4):
        """A servo with friction, as a fraction of the pull at a distance of 0.2, and play before or after the motor."""
        aim = target if self.draw.after or not self.draw.play else self._gap(target)
        for _ in range(sub):
            h = self.dt / sub
            free = self.v + h * (self.stiff * (aim - self.motor) - 1.6 * np.sqrt(self.stiff) * self.v)
            self.v = rubbed(free, h * self.draw.friction * 0.2 * self.stiff)
            self.motor = self.motor + h * self.v
        self.q = self._gap(self.motor).copy() if self.draw.after and self.draw.play else self.motor

    def _servo(self, wanted):
        a = self.q + 0.25 * wanted
        self._pull(a)
        return a

    def _delta(self, wanted):
        a = self.dt * wanted
        self.target = getattr(self, "target", self.q.copy()) + a
        self._pull(self.target)
        return a

    def _follower(self, wanted):
        a = self.q + 0.3 * wanted
        aim = a if self.draw.after or not self.draw.play else self._gap(a)
        move = self.quick * (aim - self.motor)
        self.motor = self.motor + self._dead(move, 0.3 * self.quick * self.draw.friction)
        self.q = self._gap(self.motor).copy() if self.draw.after and self.draw.play else self.motor
        return a

    def _dead(self, command, width):
        return ignored(command, width, hard=self.draw.hard)

    def _velocity(self, wanted):
        new = self.v + 0.5 * (self._dead(wanted, self.draw.friction) - self.v)
        self.v = new
        self.motor = self.motor + self.dt * self.v
        self.q = self._gap(self.motor).copy()
        return wanted

    def _integrator(self, wanted):
        self.motor = self.motor + self.dt * self._dead(wanted, self.draw.friction)
        self.q = self._gap(self.motor).copy()
        return wanted

    def _force(self, wanted):
        a = self.mass * 5 * (wanted - self.v)
        free = self.v + self.dt * (a - 0.5 * self.v) / self.mass
        self.v = rubbed(free, self.dt * 3 * self.draw.friction / self.mass)
        self.q = self.q + self.dt * self.v
        return a

    def _torque(self, wanted):
        c = 0.4 * np.cos(self.q[:, 0] - self.q[:, 1])
        weight = 2.0 * np.sin(self.q)
        a = 6 * (wanted - self.v) + weight
        pull = a - weight - 0.3 * self.v
        acc = np.stack([pull[:, 0] - c * pull[:, 1], pull[:, 1] - c * pull[:, 0]], axis=1) / (1 - c**2)[:, None]
        self.v = rubbed(self.v + self.dt * acc, self.dt * 3 * self.draw.friction)
        self.q = self.q + self.dt * self.v
        return a


STYLES = ({"speed": 0.6}, {"speed": 1.6}, {"turn": 0.5}, {"way": 1.0}, {"hand": 2.5}, {"speed": 0.75, "turn": 0.3})


def clean_draw(seed):
    """A clean set: robots in turn, and speeds, hands, ways, pauses and recordings at random."""
    rng = np.random.default_rng(1000 + seed)
    return Draw(
        robot=list(ROBOTS)[seed % len(ROBOTS)],
        seed=seed,
        count=int(rng.choice([24, 40, 80])),
        length=int(rng.choice([80, 120, 160])),
        hand=float(rng.choice([0, 0.02, 0.05, 0.1, 0.2])),
        memory=float(rng.choice([0, 0.7, 0.9, 0.95])),
        sensor=float(rng.choice([0, 0.0005, 0.002])),
        spread=float(rng.choice([0, 0.2, 0.4])),
        rates=bool(rng.random() < 0.6),
        ways=bool(rng.random() < 0.3),
        pauses=bool(rng.random() < 0.3),
        varied=bool(rng.random() < 0.7),
        shown=bool(rng.random() < 0.75),
    )


def planted_draw(cause, seed):
    """A set with one cause of a realistic size, of at least 40 episodes, and the name of its check."""
    draw, rng = clean_draw(seed), np.random.default_rng(7000 + seed)
    draw = replace(draw, count=max(draw.count, 40), hand=min(draw.hand, 0.1))
    return PLANTED[cause](draw, rng)


def _friction(draw, rng):
    return replace(draw, friction=float(rng.choice([0.15, 0.25, 0.4])), hard=bool(rng.random() < 0.5))


def _backlash(draw, rng):
    loose = ("servo6", "follower4", "velocity6", "twist3")
    robot = draw.robot if draw.robot in loose else str(rng.choice(loose))
    return replace(draw, robot=robot, play=float(rng.choice([0.04, 0.08, 0.12])), after=bool(rng.random() < 0.5))


def _drift(draw, rng):
    """Drift of the command, or of the reading where a response or a goal can show it."""
    size, joint = float(rng.choice([0.05, 0.1, 0.15])), int(rng.integers(ROBOTS[draw.robot][1]))
    steps, reading = bool(rng.random() < 0.3), bool(rng.random() < 0.6)
    return replace(draw, drift=size, joint=joint, steps=steps, reading=reading)


def _operators(draw, rng):
    style = STYLES[int(rng.integers(len(STYLES)))]
    blocks = bool(rng.random() < 0.3)
    return replace(draw, style=style, operator="operator", blocks=blocks, ways=False, hand=max(draw.hand, 0.02))


def _labels(draw, rng):
    failures, wrong = float(rng.choice([0.2, 0.3, 0.4])), int(rng.choice([4, 6, 8]))
    return replace(draw, failures=failures, wrong=wrong, flags="success", spread=min(draw.spread, 0.2))


def _all_labelled(draw, rng):
    return replace(draw, failures=float(rng.choice([0.1, 0.15])), flags="all", spread=min(draw.spread, 0.2))


PLANTED = {
    "stiction": _friction,
    "backlash": _backlash,
    "drift": _drift,
    "styles": _operators,
    "mislabelled": _labels,
    "all labelled": _all_labelled,
}
