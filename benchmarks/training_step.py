"""Speed of a training step and of a plan, as ratios measured in one run.

    python benchmarks/training_step.py

The reference is the cost of the network alone: forward and backward pass without optimiser, average and data for a
training step, forward passes for a plan. Absolute times depend on the machine and are printed only for context.
"""

import argparse
import time
from collections.abc import Callable

import torch

from holdfast.control import Quadrotor2D, Tvlqr, synthesize_episodes
from holdfast.learn import initial_state, planner_of, train, training_set
from holdfast.models import Diffusion, DiffusionModel, Sizes
from holdfast.nn import FilmMlp
from holdfast.policy import PolicySpec
from holdfast.recipe import Recipe, Training
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation, Trajectory


def hover_demonstrations(task: Quadrotor2D, count: int = 10, steps: int = 100) -> Episodes:
    """Noise around hover; only the shapes matter for the time."""
    rng = stream(0, "benchmark")
    action = task.equilibrium()[1] + 0.1 * torch.randn(count, steps, 2, generator=rng, dtype=torch.float64)
    state = 0.1 * torch.randn(count, steps + 1, 6, generator=rng, dtype=torch.float64)
    return Episodes.of(Trajectory(actions=action, states=state), dt=task.dt, system=task.name)


def wait(device: torch.device) -> None:
    """Wait until a graphics card has completed all work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def milliseconds(act: Callable[[], object], repeats: int) -> float:
    """Median time of a call [ms]."""
    for _ in range(10):
        act()
    times = list[float]()
    for _ in range(repeats):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return 1e3 * sorted(times)[len(times) // 2]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200, help="number of timed calls of each part")
    repeats = parser.parse_args().repeats
    task = Quadrotor2D()
    episodes = hover_demonstrations(task)
    model = Diffusion(network=FilmMlp(activation="mish"))
    spec = PolicySpec(n_states=6, n_actions=2, n_observed=6, horizon=8, n_obs_steps=1, model=model)
    recipe = Recipe(policy=spec, training=Training(steps=repeats + 10))
    data = training_set(spec, episodes, synthesize_episodes(Tvlqr(), task, episodes))
    updates = train(recipe, data, initial_state(recipe, data))
    step = milliseconds(lambda: next(updates), repeats)

    bare = DiffusionModel(model, Sizes(horizon=8, width=20, n_observed=6))
    batch = data.batch(torch.arange(128), sigma=0.0, rng=stream(0, "bare"))
    draws = bare.draw(batch.chunk.shape, rng=stream(0, "draws"))
    forward_backward = milliseconds(lambda: bare.loss(batch, draws).backward(), repeats)

    planner = planner_of(recipe, data, initial_state(recipe, data))
    window = Observation(state=episodes.states[:64, None])
    plan = milliseconds(lambda: planner.plan(window, rng=stream(0, "plan")), repeats)
    with torch.no_grad():
        memory = bare.network.encode(batch.observation.vector[:64])
        one = milliseconds(lambda: bare.predict(batch.chunk[:64], draws.level[:64], memory), repeats)
    calls = model.sampler.steps
    print(f"threads {torch.get_num_threads()}")
    print(f"training step    {step:7.3f} ms = {step / forward_backward:5.2f} × forward and backward alone")
    print(f"plan, 64 windows {plan:7.3f} ms = {plan / one / calls:5.2f} × its {calls} network calls alone")


if __name__ == "__main__":
    main()
