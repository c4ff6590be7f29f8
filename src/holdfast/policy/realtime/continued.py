"""Plans from the buffer of a streaming model, under delay."""

from dataclasses import dataclass

from ...errors import RecipeError
from ...models import ChunkModel, Streaming
from ...types import PrimitiveControllers
from ..base import PolicySpec
from .way import Question, Way, alternatives


@dataclass(frozen=True)
class Continued(Way):
    """Each plan continues denoising the previous one, with the steps executed meanwhile taken as clean.

    Until a plan arrives, the model's last estimate of the block that is not clean yet is executed. A plan takes
    1 / blocks of the network calls of a chunk from noise (Høeg et al. 2024, arXiv 2406.04806).
    """

    def plan(self, question: Question) -> PrimitiveControllers:
        prefix = None if question.held is None else question.held.firm()
        return question.plans.plan(question.window, rng=question.rng, prefix=prefix)

    def check(self, model: ChunkModel, spec: PolicySpec) -> None:
        if not isinstance(spec.model, Streaming):
            raise RecipeError(
                f"only policies of the family streaming continue their last plan, not {type(spec.model).__name__}. Use "
                f"another --realtime: {alternatives(model)}."
            )
        block = spec.horizon // spec.model.blocks
        if spec.execution.n_action_steps != block:
            raise RecipeError(
                f"a buffer of {spec.model.blocks} blocks gives {block} of {spec.horizon} steps at a time: expected "
                f"n_action_steps={block}, got {spec.execution.n_action_steps}."
            )
