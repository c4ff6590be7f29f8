"""Training and planning with the U-Net of Diffusion Policy and LeRobot, here and in their way, as ratios of one run.

    python benchmarks/peers.py [--repetitions 5] [--threads 2] [--peers diffusion-policy lerobot] [--batch B]
                               [--device cpu] [--plans-only] [--out FILE.json]

Both sides have the same network (`peers_unet.py` verifies this), the same data, the same batches and the same 100 steps
of DDPM. `peers_loop.py` re-creates their training loop, with a `DataLoader` in the published number of processes and in
none. An update includes everything from data to moving average, a plan everything from an observation window to
actions. Each repetition times all sides in turn, in reverse order every second time, so that other load on the machine
affects all alike. A ratio is the geometric mean over repetitions with a 95 % interval (t, of its logarithm). `products`
is the time of the matrix products of one plan alone, repeated in the shapes in which the network calls them.

The moving average, which LeRobot omits by default, is included here. bfloat16 is an option of the training
(`Training.precision`); packed weights are those of `holdfast.nn.fast.packing`. On a graphics card our side is compiled,
as with `train --compile` and `Policy.compiled`. "holdfast.load" plans with the form of the weights that `holdfast.load`
chooses by measuring. LeRobot's network needs 12 GB of memory.
"""

import argparse
import json
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peers_loop import ACTION, KEYPOINTS, LEVELS, N_OBS, POSITION, Loop, pusht_like
from peers_unet import DIFFUSION_POLICY, LEROBOT, Peer, PeerUnet
from torch import Tensor, nn
from torch.nn.functional import linear
from training_step import wait

from holdfast.data import Actions
from holdfast.evaluation import Estimate
from holdfast.evaluation.intervals import over_seeds
from holdfast.learn import initial_state, planner_of, prepare, train
from holdfast.models import Diffusion, DiffusionModel, Sampler
from holdfast.nn.fast.packing import Precision, packed
from holdfast.policy import Planner, Policy, PolicySpec
from holdfast.policy.ready import readied
from holdfast.recipe import Recipe, Training
from holdfast.seeding import stream
from holdfast.types import Episodes, Observation

PEERS = {"diffusion-policy": DIFFUSION_POLICY, "lerobot": LEROBOT}
OBSERVED = KEYPOINTS + POSITION
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
MANY = 64
A_TENTH = LEVELS // 10
"""Number of timed steps for plans that take minutes; all steps take equally long."""


def recipe_of(peer: Peer, precision: Precision = "float32", *, steps: int = LEVELS) -> Recipe:
    """Recipe with the peer's setting."""
    sampler = Sampler(steps=steps, eta=1.0)
    model = Diffusion(network=peer.options, levels=LEVELS, prediction="epsilon", sampler=sampler)
    spec = PolicySpec(
        n_states=POSITION,
        n_actions=ACTION,
        n_observed=OBSERVED,
        codec=Actions(),
        model=model,
        n_obs_steps=N_OBS,
        horizon=peer.horizon,
    )
    # never reached: all sides are timed in the middle of a training
    return Recipe(
        policy=spec, training=Training(steps=100_000, batch_size=peer.batch, learning_rate=1e-4, precision=precision)
    )


def interval(ratios: list[float]) -> Estimate:
    """Geometric mean with a 95 % interval (t, of the logarithm)."""
    logs = over_seeds(torch.tensor(ratios, dtype=torch.float64).log())
    return Estimate(mean=math.exp(logs.mean), low=math.exp(logs.low), high=math.exp(logs.high))


def timed(sides: Mapping[str, Callable[[], object]], repetitions: int, device: str) -> dict[str, list[float]]:
    """Seconds of each side's work, alternately; the first round is a warm-up and is discarded."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for repetition in range(-1, repetitions):
        names = list(sides) if repetition % 2 else list(reversed(sides))
        for name in names:
            wait(torch.device(device))
            start = time.perf_counter()
            sides[name]()
            wait(torch.device(device))
            if repetition >= 0:
                found[name].append(time.perf_counter() - start)
    return found


def rows_of(work: str, found: Mapping[str, list[float]], ours: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """One row per pair of our side and another."""
    for own in ours:
        for name, seconds in found.items():
            if name not in ours:
                ratio = interval([theirs / mine for theirs, mine in zip(seconds, found[own], strict=True)])
                yield {
                    "work": work,
                    "ours": own,
                    "ours_s": statistics.median(found[own]),
                    "theirs": name,
                    "theirs_s": statistics.median(seconds),
                    "ratio": {"mean": ratio.mean, "low": ratio.low, "high": ratio.high},
                    "words": str(ratio),
                }


def training(peer: Peer, episodes: Episodes, repetitions: int, device: str) -> Iterator[dict[str, Any]]:
    """Times of an update of each side."""
    sides = dict[str, Callable[[], object]]()
    data = prepare(recipe_of(peer), episodes, device=device)
    # one state for all sides of a kind, written in place: that of LeRobot's network fills 5 GB
    state = initial_state(recipe_of(peer), data)
    for precision in PRECISIONS:
        updates = train(recipe_of(peer, precision), data, state, compiled=device != "cpu")
        sides[f"holdfast {precision}"] = lambda updates=updates: next(updates)
    ours = tuple(sides)
    loop = Loop(peer, PeerUnet(peer.options, ACTION, N_OBS * OBSERVED).to(device), episodes, device)
    for workers in (peer.workers, 0):
        losses = loop.losses(workers)
        sides[f"{peer.name}, {workers} workers"] = lambda losses=losses: next(losses)
    yield from rows_of(f"update of {peer.batch}", timed(sides, repetitions, device), ours)


def planning(
    peer: Peer, episodes: Episodes, windows: int, repetitions: int, device: str, *, steps: int = LEVELS
) -> Iterator[dict[str, Any]]:
    """Times of a plan of each side, or of the given number of its steps."""
    recipe = recipe_of(peer, steps=steps)
    data = prepare(recipe, episodes, device=device)
    planner = planner_of(recipe, data, initial_state(recipe, data))
    ours = {"holdfast": planner, "holdfast compiled": Policy(planner).compiled().planner}
    ours["holdfast.load"], readiness = readied(planner)
    print(f"holdfast.load: {readiness}", flush=True)
    for precision in PRECISIONS if device == "cpu" else ():
        ours[f"holdfast packed {precision}"] = replace(planner, model=packed(planner.model, precision))
    loop = Loop(peer, PeerUnet(peer.options, ACTION, N_OBS * OBSERVED).to(device).eval(), episodes, device)
    rng, seen = stream(0, "benchmark", "plan", device=device), episodes.observed.vector[: windows * N_OBS]
    window = seen.view(windows, N_OBS, OBSERVED)
    sides: dict[str, Callable[[], object]] = {
        name: lambda one=one: one.plan(Observation(state=window), rng=rng) for name, one in ours.items()
    }
    sides[peer.name] = lambda: loop.plan(window, steps)
    replay = products(planner, window)
    sides["products"] = lambda: [replay() for _ in range(steps)]
    work = f"plan of {windows}" if steps == LEVELS else f"{steps} steps of {windows}"
    yield from rows_of(work, timed(sides, repetitions, device), tuple(ours))


def products(planner: Planner, window: Tensor) -> Callable[[], None]:
    """The matrix products of one network call, without the operations between them."""
    model, device = planner.model, next(planner.model.parameters()).device
    assert isinstance(model, DiffusionModel)
    calls = list[tuple[Tensor, Tensor]]()

    def note(layer: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        match layer:
            case nn.ConvTranspose1d():
                calls.append((torch.randn(given[0].mT.shape, device=device), layer.weight.detach().flatten(1).mT))
            case nn.Conv1d():
                matrix = layer.weight.detach().flatten(1)
                calls.append((torch.randn(*made.mT.shape[:2], matrix.shape[1], device=device), matrix))
            case nn.Linear():
                calls.append((torch.randn(given[0].shape, device=device), layer.weight.detach()))
            case _:
                pass

    hooks = [layer.register_forward_hook(note) for layer in model.network.modules()]
    with torch.no_grad():
        noise = torch.randn(len(window), model.sizes.horizon, model.sizes.width, device=device)
        model.denoiser(planner.model_input(Observation(state=window)).vector)(noise, 0)
    for hook in hooks:
        hook.remove()
    film = model.network.get_submodule("film").get_parameter("weight").detach()
    # only partly read: the part for the observations is computed once per plan
    told = model.network.get_submodule("embed").get_parameter("layers.2.weight").shape[0]
    calls.append((torch.randn(len(window), told, device=device), film[:, :told]))

    @torch.no_grad()
    def replay() -> None:
        for rows, matrix in calls:
            linear(rows, matrix)

    return replay


def measure(peer: Peer, repetitions: int, device: str, *, plans_only: bool = False) -> Iterator[dict[str, Any]]:
    """All rows of a peer."""
    episodes = pusht_like()
    if peer.name == DIFFUSION_POLICY.name:
        yield from planning(peer, episodes, 1, repetitions, device)
        yield from planning(peer, episodes, MANY, repetitions, device, steps=A_TENTH)
    else:
        yield from planning(peer, episodes, 1, repetitions, device, steps=A_TENTH)
    if not plans_only:
        yield from training(peer, episodes, repetitions, device)


def sized(peer: Peer, batch: int | None) -> Peer:
    """The peer, with another batch size if one is given."""
    return peer if batch is None else replace(peer, batch=batch)


def answer(peer: Peer) -> None:
    """Print the seconds of one update or one plan, as requested by each line of the standard input."""
    episodes, recipe = pusht_like(), recipe_of(peer)
    data = prepare(recipe, episodes)
    updates = train(recipe, data, initial_state(recipe, data))
    planner, rng = planner_of(recipe, data, initial_state(recipe, data)), stream(0, "benchmark", "plan")
    window = episodes.observed.vector[:N_OBS].view(1, N_OBS, OBSERVED)
    works = {"update": lambda: next(updates), "plan": lambda: planner.plan(Observation(state=window), rng=rng)}
    for line in sys.stdin:
        start = time.perf_counter()
        works[line.strip()]()
        print(time.perf_counter() - start, flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--peers", nargs="+", choices=sorted(PEERS), default=sorted(PEERS))
    parser.add_argument("--batch", type=int, help="batch size (windows per update); default: the peer's own")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--plans-only", action="store_true", help="measure no training")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    parser.add_argument("--answer", choices=sorted(PEERS), help="time the work that is requested on standard input")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # the published number, on any machine
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    if options.answer:
        answer(sized(PEERS[options.answer], options.batch))
        return
    rows = list[dict[str, Any]]()
    print(f"{options.device}, {options.threads} threads, {options.repetitions} repetitions; seconds are medians")
    for name in options.peers:
        peer, only = sized(PEERS[name], options.batch), options.plans_only
        for row in measure(peer, options.repetitions, options.device, plans_only=only):
            rows.append({"peer": PEERS[name].name, "threads": options.threads, **row})
            sides = f"{row['theirs']} {row['theirs_s']:.3f} s / {row['ours']} {row['ours_s']:.3f} s"
            print(f"{row['work']:<14} {row['words']}   {sides}", flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
