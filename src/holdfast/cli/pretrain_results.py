"""`holdfast pretrain`: result.json and pictures.png at the end."""

import time
from pathlib import Path
from typing import Any

import torch

from ..learn import TrainState
from ..learn.pretraining import PictureSet, Pretraining, Probe, pretraining_model, probe_features
from ..learn.pretraining.folder import FITTED
from ..learn.pretraining.frames import every
from ..learn.pretraining.updates import held_out_loss
from ..nn import PictureEncoder
from ..nn.vision.pretraining import name_of
from ..report import draw_picture_rows, write_result
from ..schema import to_plain
from ..seeding import stream
from ..types import Episodes

SHOWN = 8


def write_pretraining_results(
    folder: Path, recipe: Pretraining, pictures: PictureSet, episodes: Episodes, state: TrainState, *, started: float
) -> list[str]:
    """Write both files; returns what they say in sentences.

    Args:
        folder: Folder of the pre-training.
        recipe: Its recipe.
        pictures: Its pictures.
        episodes: Its data, whose observations are probed.
        state: State after the last update.
        started: When the verb began, on the monotonic clock [s].
    """
    model = pretraining_model(recipe, {name: value.cpu() for name, value in state.average.items()})
    fitted_to = pictures.sample(FITTED, held_out=False, rng=stream(recipe.seed, "fitted"))
    trained, untrained = (one.ready_encoder(fitted_to) for one in (model, pretraining_model(recipe)))
    probes = {"trained": _probed(recipe, episodes, trained), "untrained": _probed(recipe, episodes, untrained)}
    loss = held_out_loss(recipe, pictures, state)
    _draw(folder / "pictures.png", recipe, pictures, state)
    values: dict[str, Any] = {
        "method": type(recipe.method).__name__,
        "encoder": type(recipe.vision.encoder).__name__,
        "steps": state.step,
        "loss": float(state.loss),
        "held_out_loss": loss,
        "pictures": len(pictures.training),
        "seconds": round(time.monotonic() - started, 1),
        "recipe": to_plain(recipe),
    }
    for name, probe in probes.items():
        if probe is not None:
            values |= {f"r2_{name}": probe.mean, f"r2_{name}_each": probe.r2, f"error_{name}_each": probe.error}
    write_result(folder / "result.json", values)
    return [_of_loss(state, loss), *_of_probes(probes["trained"], probes["untrained"])]


def _probed(recipe: Pretraining, episodes: Episodes, encoder: PictureEncoder) -> Probe | None:
    return probe_features(recipe, episodes, encoder)


def _of_loss(state: TrainState, loss: float | None) -> str:
    return f"step {state.step}, loss {float(state.loss):.5f}" + ("" if loss is None else f", held out {loss:.5f}")


def _of_probes(trained: Probe | None, untrained: Probe | None) -> list[str]:
    if trained is None or untrained is None:
        return []
    return [
        "R² of a linear function of the features for the observation on held-out episodes, mean over "
        f"{len(trained.r2)} coordinates: {trained.mean:.3f}, and {untrained.mean:.3f} before the training (1 is "
        "perfect, 0 the mean of the observation, and below 0 is worse than the mean)"
    ]


@torch.no_grad()
def _draw(path: Path, recipe: Pretraining, pictures: PictureSet, state: TrainState) -> None:
    source = pictures.training if pictures.held_out is None else pictures.held_out
    chosen = every(source, SHOWN)
    shown = chosen.read(torch.arange(len(chosen)))
    model = pretraining_model(recipe, {name: value.cpu() for name, value in state.average.items()})
    rows = model.shown(shown, model.draw(len(shown), rng=stream(recipe.seed, "shown")))
    where = "training" if pictures.held_out is None else "held-out"
    title = f"holdfast pretrain --method {name_of(recipe.method)}: {where} pictures after {state.step:,} updates"
    draw_picture_rows(path, rows, title)
