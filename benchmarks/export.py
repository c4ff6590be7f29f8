"""Exported policies in onnxruntime against the policy itself: latency of a plan, and scores in closed loop.

    python benchmarks/export.py [--repetitions 20] [--plans 20]
    python benchmarks/export.py --runs RUN [RUN ...] [--episodes 50] [--first-seed 100000]

Without runs: the default policy for Push-T and its default with other families, untrained, on one thread and for one
window. Plans are timed alternately; a ratio is the geometric mean over repetitions with a 95 % interval (t, of its
logarithm). With runs: each is exported, and policy and graph are evaluated on the same starts with the same noise, up
to rounding, which contacts amplify; and the policy once more with other noise, which shows what noise alone changes.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from peers import interval

from holdfast.data import Actions, MinMax
from holdfast.envs import make_environment
from holdfast.evaluation import evaluate
from holdfast.export import Exported, export_policy
from holdfast.learn import load_recipe
from holdfast.models import Diffusion, Sampler, family_named
from holdfast.nn import ResidualMlp
from holdfast.policy import ChunkExecutor, Execution, Planner, Policy, PolicySpec, build_model
from holdfast.seeding import drawn, stream
from holdfast.types import Observation, Prefix, PrimitiveControllers

PUSHT = Diffusion(ResidualMlp(), sampler=Sampler(steps=30, eta=1.0))
"""The default model for Push-T."""
LATENCY = ("diffusion", "flow", "regression", "mixture", "cvae")
"""Families whose plans are timed; those of tokens need data to fit a tokenizer."""


class OnnxPlans:
    """Plans of an exported graph, with fresh noise for each."""

    def __init__(self, written: Exported, n_states: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.n_states = n_states
        self.about = json.loads(written.manifest.read_text())
        self.session = onnxruntime.InferenceSession(str(written.file), options, providers=["CPUExecutionProvider"])

    def inputs(self, window: torch.Tensor, rng: torch.Generator) -> dict[str, object]:
        """The window and noise for it, by name."""
        noise = {one["name"]: self.drawn(one, window, rng).float().numpy() for one in self.about["inputs"][1:]}
        return {"observation": window.float().numpy(), **noise}

    def drawn(self, one: dict, window: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Numbers of a noise input, in the order and precision in which the policy draws them."""
        law, shape = one["distribution"]["law"], one["shape"][1:]
        if one["name"] == "observation_noise":
            return drawn(law, (len(window), *shape), rng=rng, dtype=window.dtype)
        return torch.stack([drawn(law, (len(window), *shape[1:]), rng=rng) for _ in range(shape[0])], dim=1)

    def plan(self, window: Observation, *, rng: torch.Generator, prefix: Prefix | None = None) -> PrimitiveControllers:
        """Composite actions of the graph."""
        found = [torch.from_numpy(part).double() for part in self.session.run(None, self.inputs(window.vector, rng))]
        if len(found) == 3:
            return PrimitiveControllers(actions=found[0], states=found[1], gains=found[2])
        return PrimitiveControllers.open_loop(found[0], found[0].new_zeros(*found[0].shape[:2], self.n_states))


def untrained(family: str) -> Policy:
    """A policy with the sizes of Push-T's default: 20 numbers observed, chunks of 16 steps of two actions."""
    spec = PolicySpec(
        n_states=2,
        n_actions=2,
        n_observed=20,
        codec=Actions(),
        model=PUSHT if family == "diffusion" else family_named(family, ResidualMlp()),
        n_obs_steps=1,
        horizon=16,
        execution=Execution(n_action_steps=10, sigma_deploy=0.02),
    )
    unit = {size: MinMax(low=torch.zeros(size).double(), high=torch.full((size,), 512.0).double()) for size in (20, 2)}
    return Policy(Planner(spec, build_model(spec).eval(), observation_scale=unit[20], code_scale=unit[2]))


def seconds_of(act: Callable[[], object], count: int) -> float:
    """Duration of a number of calls [s]."""
    start = time.perf_counter()
    for _ in range(count):
        act()
    return time.perf_counter() - start


def latency(family: str, folder: Path, options: argparse.Namespace) -> str:
    """Ratio of the policy's time to onnxruntime's, and both times."""
    policy = untrained(family)
    graph, rng = OnnxPlans(export_policy(policy, folder / family), 2), stream(0, "benchmark")
    window = Observation(state=torch.full((1, 1, 20), 256.0))
    acts = {
        "policy": lambda: policy.executor.plans.plan(window, rng=rng),
        "graph": lambda: graph.plan(window, rng=rng),
    }
    seconds: dict[str, list[float]] = {name: [] for name in acts}
    for repetition in range(options.repetitions + 1):
        for name in acts if repetition % 2 else reversed(acts):
            taken = seconds_of(acts[name], options.plans)
            # the first plans prepare kernels
            seconds[name] += [taken] if repetition else []
    ratio = interval([ours / theirs for ours, theirs in zip(*seconds.values(), strict=True)])
    ours, theirs = (1e3 * min(taken) / options.plans for taken in seconds.values())
    return f"{family:12s} {ratio}   policy {ours:.3f} ms, onnxruntime {theirs:.3f} ms (least)"


def closed_loop(run: Path, folder: Path, options: argparse.Namespace) -> str:
    """Scores of policy and graph on the same starts."""
    policy, environment = Policy.from_pretrained(run), load_recipe(run).environment or "pusht"
    graph = OnnxPlans(export_policy(policy, folder / run.name, run=run), policy.spec.n_states)
    about, limits = graph.about, [graph.about["limits"][side] for side in ("low", "high")]
    executor = ChunkExecutor(
        graph,
        n_obs_steps=about["n_obs_steps"],
        n_action_steps=about["n_action_steps"],
        action_low=None if limits[0] is None else torch.tensor(limits[0]),
        action_high=None if limits[1] is None else torch.tensor(limits[1]),
    )
    scores = []
    for actor, seed in ((policy, 0), (executor, 0), (policy, 1)):
        made = make_environment(environment, options.episodes)
        found = evaluate(actor, made, episodes=options.episodes, first_seed=options.first_seed, seed=seed)
        scores.append(found.estimates["score"])
    inside = "inside" if scores[0].low <= scores[1].mean <= scores[0].high else "OUTSIDE"
    told = [f"{score.mean:.3f} [{score.low:.3f}, {score.high:.3f}]" for score in scores]
    return f"{run.name:12s} policy {told[0]}   graph {told[1]}   {inside}   policy, other noise {told[2]}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--plans", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=LATENCY, default=LATENCY)
    parser.add_argument("--runs", nargs="+", type=Path, default=[])
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--first-seed", type=int, default=100_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if not options.runs:
            print("one thread, one window: time of the policy / time of onnxruntime")
        for family in () if options.runs else options.only:
            print(latency(family, Path(folder), options), flush=True)
        for run in options.runs:
            print(closed_loop(run, Path(folder), options), flush=True)


if __name__ == "__main__":
    main()
