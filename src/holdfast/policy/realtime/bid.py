"""Bidirectional decoding: several plans, of which the one that fits the running plan and a good policy best is kept.

    L_B(a) = Σ_i ρ^i ‖a_i − Y_i‖                          over the steps that the running plan Y still has
    L_F(a) = Σ_{a⁺} ‖a − a⁺‖ − Σ_{a⁻} ‖a − a⁻‖            a⁺ the plans of the policy, a⁻ those of a weaker one, each set
                                                          reduced to the `mode` plans of least L_B
    kept: argmin L_B + L_F

Liu et al. 2024 (arXiv 2408.17355), eq. 4–7 and their code.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data import encode
from ...errors import at_least
from ...types import PrimitiveControllers
from ..base import Plans
from ..planner import Planner
from .held import Held
from .way import Question, Way


@dataclass(frozen=True)
class Bid(Way):
    """The best of several plans.

    Attributes:
        samples: Number N of plans of the policy.
        decay: Decay ρ of the weight of later steps.
        mode: Number of plans to which each set is reduced for the forward contrast.
        weaker: Planner of a weaker policy, for example of an earlier checkpoint, for the forward contrast; `None`
            leaves it out.
        code: Planner whose codec and scale give the numbers in which plans are compared.
    """

    code: Planner
    samples: int = 15
    decay: float = 0.5
    mode: int = 3
    weaker: Plans | None = None

    def __post_init__(self) -> None:
        at_least(1, samples=self.samples, mode=self.mode)

    def plan(self, question: Question) -> PrimitiveControllers:
        strong = self._drawn(question.plans, question)
        codes = self._codes(strong)
        loss = backward_loss(codes, question.held, self.decay)
        if self.weaker is not None:
            weak = self._codes(self._drawn(self.weaker, question))
            near = nearest(codes, loss, self.mode)
            far = nearest(weak, backward_loss(weak, question.held, self.decay), self.mode)
            loss = loss + contrast(codes, near) - contrast(codes, far)
        return _rows(strong, loss.argmin(0), len(loss))

    def _drawn(self, plans: Plans, question: Question) -> PrimitiveControllers:
        """Plans `[samples · b, h]`, the samples of the first axis slowest."""
        rows = torch.arange(len(question.window.state)).repeat(self.samples)
        return plans.plan(question.window.at(rows), rng=question.rng)

    def _codes(self, chunks: PrimitiveControllers) -> Float[Tensor, "n b h w"]:
        codes = self.code.code_scale.normalize(encode(self.code.spec.codec, chunks))
        return codes.view(self.samples, -1, *codes.shape[1:])


def backward_loss(codes: Float[Tensor, "n b h w"], held: Held | None, decay: float) -> Float[Tensor, "n b"]:
    """L_B of each plan; 0 at the start of an episode."""
    if held is None:
        return codes.new_zeros(codes.shape[:2])
    index = torch.arange(codes.shape[2])
    weights = torch.where(index < held.left[:, None], decay**index, 0.0).to(codes)
    return (weights * (codes - held.codes.to(codes)).square().sum(-1).sqrt()).sum(-1)


def nearest(codes: Float[Tensor, "n b h w"], loss: Float[Tensor, "n b"], count: int) -> Float[Tensor, "k b h w"]:
    """The `count` plans of least loss of each episode."""
    best = loss.topk(min(count, len(loss)), dim=0, largest=False).indices
    return codes.gather(0, best[..., None, None].expand(-1, -1, *codes.shape[2:]))


def contrast(codes: Float[Tensor, "n b h w"], others: Float[Tensor, "k b h w"]) -> Float[Tensor, "n b"]:
    """Summed distance of each plan to a set of plans, step by step: Σ_k Σ_i ‖a_i − b_i^k‖."""
    return (codes[:, None] - others).square().sum(-1).sqrt().sum((-1, 1))


def _rows(chunks: PrimitiveControllers, best: Int[Tensor, " b"], count: int) -> PrimitiveControllers:
    size = len(best)
    return chunks[best * size + torch.arange(size)]
