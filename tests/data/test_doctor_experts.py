"""The demonstrations of all built-in experts, of which the doctor may say nothing that is not so."""

from dataclasses import replace

import pytest

from holdfast.control import SYSTEMS, MpcExpert, system
from holdfast.data.doctor import inspect_episodes
from holdfast.envs.avoid_expert import avoid_demonstrations
from holdfast.envs.courier import courier_demonstrations
from holdfast.envs.fork import fork_demonstrations
from holdfast.envs.obstacle import obstacle_demonstrations
from holdfast.envs.particle import particle_demonstrations
from holdfast.seeding import stream
from holdfast.types import Episodes

TRUE = {"starts covered", "limits", "range"}
"""Few episodes leave gaps between their starts, the expert of D3IL's avoidance moves at its largest velocity, that of
the courier starts with its largest force, and the regulator of the scalar system is near 0 in nearly all steps."""


def planned(name, count, rng):
    task = system(name)
    flown = MpcExpert(task).rollout(task.initial_states(count, rng=rng), task.steps)
    names = {"state": tuple(task.state_names), "action": tuple(task.action_names)}
    return replace(Episodes.of(flown, dt=task.dt, system=name), names=names)


def experts():
    """Functions of a number of episodes and a generator, by environment."""
    scripted = {
        "avoid": avoid_demonstrations,
        "courier": courier_demonstrations,
        "fork": fork_demonstrations,
        "obstacle": obstacle_demonstrations,
        "particle": particle_demonstrations,
        "particle:4": lambda count, rng: particle_demonstrations(count, rng=rng, dims=4),
    }
    return scripted | {name: lambda count, rng, name=name: planned(name, count, rng) for name in SYSTEMS}


def blamed(episodes):
    findings = inspect_episodes(episodes).findings
    return {f.check for f in findings if f.severity in ("error", "warning")}


@pytest.mark.parametrize("name", experts())
@pytest.mark.parametrize("count", [8, 24])
def test_experts_are_not_blamed(name, count):
    episodes = experts()[name](count, rng=stream(0, "demonstrate", name.partition(":")[0]))
    assert blamed(episodes) <= TRUE


def test_the_limits_of_two_experts_only():
    made = {name: make(8, rng=stream(1, "demonstrate", name)) for name, make in experts().items() if name in SCRIPTED}
    assert [name for name, episodes in made.items() if "limits" in blamed(episodes)] == ["avoid", "courier"]


SCRIPTED = ("avoid", "courier", "fork", "obstacle", "particle")
