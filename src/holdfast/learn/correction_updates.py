"""The updates that fit the network of a correction to the control steps of plans."""

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import gathered
from ..errors import DivergedError
from ..policy.realtime import Correction, CorrectionNet, CorrectionRecipe
from ..seeding import stream
from .correction_state import Checkpoints, Stored
from .correction_steps import Steps


class Updates:
    """AdamW with a cosine decay of the learning rate to zero, on random batches of control steps.

    Args:
        net: Network, which is fitted in place.
        options: What to train with.
    """

    def __init__(self, net: CorrectionNet, options: CorrectionRecipe) -> None:
        self.net, self.options, self.done = net, options, 0
        self.rng = stream(options.seed, "correction batches")
        self.optimiser = torch.optim.AdamW(
            net.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, options.steps)

    def update(self, inputs: Float[Tensor, "s d"], targets: Float[Tensor, "s m"]) -> None:
        """One update.

        Raises:
            DivergedError: The loss, or at the end a weight, is not finite.
        """
        rows = torch.randint(len(inputs), (min(self.options.batch_size, len(inputs)),), generator=self.rng)
        loss = (self.net(gathered(inputs, rows)) - gathered(targets, rows)).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        cast(Any, self.optimiser).step()
        self.schedule.step()
        self.done += 1
        # a finite loss can have a gradient that is not finite, which the next loss shows, or else the weights
        if not bool(loss.detach().isfinite()) or self.done == self.options.steps:
            _check_finite(self.net, loss.detach(), self.done)

    def stored(self) -> Stored:
        """All that the next updates depend on."""
        moments = cast("dict[int, dict[str, Tensor]]", self.optimiser.state_dict()["state"])
        tensors = {f"net/{name}": value for name, value in self.net.state_dict().items()}
        tensors |= {f"moments/{one}/{name}": value for one, part in moments.items() for name, value in part.items()}
        return Stored({"done": self.done, "rate": self.schedule.get_last_lr()}, tensors | {"rng": self.rng.get_state()})

    def restore(self, stored: Stored) -> None:
        """Continue where a training was stopped."""
        self.done, rate = int(stored.about["done"]), list(stored.about["rate"])
        self.net.load_state_dict(stored.under("net"))
        self.rng.set_state(stored.tensors["rng"])
        state, moments = self.optimiser.state_dict(), dict[int, dict[str, Tensor]]()
        for path, value in stored.under("moments").items():
            one, _, name = path.partition("/")
            moments.setdefault(int(one), {})[name] = value
        groups = [{**group, "lr": lr} for group, lr in zip(state["param_groups"], rate, strict=True)]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        moved = {"last_epoch": self.done, "_step_count": self.done + 1, "_last_lr": rate}
        self.schedule.load_state_dict({**self.schedule.state_dict(), **moved})


def fitted(
    correction: Correction,
    steps: Steps,
    options: CorrectionRecipe,
    progress: Callable[[int], None],
    checkpoints: Checkpoints | None = None,
) -> None:
    """Fit the network of a correction, in place.

    Args:
        correction: Correction with its initial weights.
        steps: Control steps of plans.
        options: What to train with.
        progress: Called with the number of updates that are done.
        checkpoints: Where a stopped training is kept, and continued from.

    Raises:
        DivergedError: The loss is not finite.
        Interrupted: A signal has arrived; a checkpoint was written.
    """
    updates = Updates(correction.net, options)
    if checkpoints is not None:
        checkpoints.continue_updates(updates.restore)
    inputs = correction.inputs(steps.observations, steps.planned, steps.phase)
    targets = targets_of(correction, steps)
    while updates.done < options.steps:
        updates.update(inputs, targets)
        progress(updates.done)
        if checkpoints is not None:
            checkpoints.after_update(updates.done, options.steps, updates.stored)
    correction.net.eval().requires_grad_(False)


def targets_of(correction: Correction, steps: Steps) -> Float[Tensor, "s m"]:
    """What was demonstrated minus what was planned, in halves of the actions' range."""
    return ((steps.demonstrated - steps.planned) / correction.action_scale.half.to(steps.planned)).float()


def _check_finite(net: CorrectionNet, loss: Tensor, update: int) -> None:
    if not all(bool(value.isfinite().all()) for value in (loss, *net.parameters())):
        raise DivergedError(
            f"after update {update} the loss ({float(loss):g}) or the weights of the correction are not finite. "
            "No correction was written. Lower --learning-rate."
        )
