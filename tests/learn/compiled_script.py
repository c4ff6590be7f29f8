"""Run by test_compiled.py in a process of its own, where nothing checks shapes: the compiler cannot trace checks.

    python compiled_script.py CASE FOLDER

prints what was measured as JSON.
"""

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import torch

from holdfast.control import MpcExpert, Quadrotor2D
from holdfast.learn import default_recipe, fit, initial_state, planner_of, prepare, train, train_variants
from holdfast.learn.gradients import gradients_of
from holdfast.models import AutoregressiveTokens, Diffusion, Sampler
from holdfast.nn import FilmMlp, Gpt, WithFallback
from holdfast.policy import Policy, build_model
from holdfast.recipe import Training
from holdfast.seeding import stream
from holdfast.tokens import Binning
from holdfast.types import Episodes, Observation


def demonstrations():
    drone = Quadrotor2D()
    starts = drone.initial_states(2, rng=stream(0, "tests", "compiled"))
    return Episodes.of(MpcExpert(drone, horizon=8).rollout(starts, 20), dt=drone.dt, system=drone.name)


EPISODES = demonstrations()


def recipe_of(steps=8, seed=0):
    recipe = default_recipe(EPISODES)
    model = Diffusion(network=FilmMlp(widths=(24, 24), embedding=8), levels=20, sampler=Sampler(steps=4))
    training = Training(steps=steps, batch_size=16, warmup_steps=2, save_every=4, sigma_train=0.1)
    return replace(recipe, policy=replace(recipe.policy, model=model), training=training, seed=seed)


def flat(values):
    return torch.cat([value.flatten() for value in values.values()])


def apart(a, b):
    return float((flat(a) - flat(b)).abs().max())


def end_of(recipe, data, **options):
    *_, last = train(recipe, data, initial_state(recipe, data), **options)
    return last


def training(folder):
    """Compiled and eager; the first weights; what is compiled."""
    recipe = recipe_of()
    data = prepare(recipe, EPISODES)
    eager, compiled = end_of(recipe, data), end_of(recipe, data, compiled=True)
    model, start = build_model(recipe.policy), initial_state(recipe, data)
    gradients = gradients_of(model, compiled_on=torch.device("cpu"))
    batch = data.batch(torch.arange(4), sigma=0.0, rng=stream(0, "tests"))
    gradients(start.parameters, batch, model.draw(batch.chunk.shape, rng=stream(0, "tests")))
    return {
        "apart": apart(eager.average, compiled.average),
        "moved": apart(eager.average, start.average),
        "losses": [float(eager.loss), float(compiled.loss)],
        "fast": isinstance(gradients, WithFallback) and gradients.fast is not None,
    }


def variants(folder):
    """As variants, compiled, against separate eager trainings."""
    recipes = [recipe_of(seed=seed) for seed in range(3)]
    sets = [prepare(recipe, EPISODES) for recipe in recipes]
    *_, last = train_variants(recipes, sets, compiled=True, block=2, threads=2)
    alone = [end_of(recipe, one) for recipe, one in zip(recipes, sets, strict=True)]
    return {
        "apart": [apart(last.state(i).average, end.average) for i, end in enumerate(alone)],
        "seeds_apart": apart(alone[0].average, alone[1].average),
        "fast": [block.differentiated.fast is not None for block in last.blocks],
    }


def resuming(folder):
    """Stopped after half of the updates and resumed, against uninterrupted."""
    recipe = recipe_of()
    data = prepare(recipe, EPISODES)
    fit(recipe, data, folder / "whole", compiled=True)

    def stop(state):
        if state.step == 5:
            raise KeyboardInterrupt

    try:
        fit(recipe, data, folder / "half", compiled=True, on_step=stop)
    except KeyboardInterrupt:
        fit(recipe, data, folder / "half", resume=True, compiled=True)
    names = ("model.safetensors", "train_state/state.safetensors")
    fit(recipe, data, folder / "eager")
    return {
        "same": [(folder / "half" / name).read_bytes() == (folder / "whole" / name).read_bytes() for name in names],
        "eager": (folder / "eager" / names[0]).read_bytes() == (folder / "whole" / names[0]).read_bytes(),
    }


def planning(folder):
    """Plans of one and of three windows, compiled and not; what cannot be compiled."""
    recipe = recipe_of()
    data = prepare(recipe, EPISODES)
    policy = Policy(planner_of(recipe, data, end_of(recipe, data)))
    ready = policy.compiled()
    found = []
    for count in (1, 3):
        window = torch.randn(count, recipe.policy.n_obs_steps, recipe.policy.n_observed, generator=stream(1, "tests"))
        plans = [
            one.planner.plan_normalized(Observation(state=window), rng=stream(2, "tests")).actions
            for one in (policy, ready)
        ]
        found.append([float((plans[0] - plans[1]).abs().max()), float(plans[0].abs().max())])
    tokens = AutoregressiveTokens(Binning(bins=8), Gpt(layers=1, heads=2, width=16))
    written = replace(recipe, policy=replace(recipe.policy, model=tokens))
    sets = prepare(written, EPISODES)
    try:
        Policy(planner_of(written, sets, initial_state(written, sets))).compiled()
        refused = ""
    except ValueError as error:
        refused = str(error)
    calls = [part.call.fast is not None for part in ready.planner.model.modules() if hasattr(part, "call")]
    return {"plans": found, "fast": calls, "refused": refused}


def without_compiler(folder):
    """Where there is no compiler, everything is as without asking for one, and a line says so."""
    import torch._inductor.config as config

    config.cpp.cxx = ("no-such-compiler",)
    recipe = recipe_of()
    data = prepare(recipe, EPISODES)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        compiled = end_of(recipe, data, compiled=True)
    eager = end_of(recipe, data)
    said = [str(one.message) for one in told if one.category.__name__ == "CompileWarning"]
    return {"apart": apart(eager.parameters, compiled.parameters), "said": said}


if __name__ == "__main__":
    torch.set_num_threads(1)
    case = {part.__name__: part for part in (training, variants, resuming, planning, without_compiler)}[sys.argv[1]]
    print(json.dumps(case(Path(sys.argv[2]))))
