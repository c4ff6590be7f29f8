"""Ways in which the new plan continues the running one: conditioning, clean prefixes, guidance."""

from dataclasses import dataclass

from ...errors import RecipeError
from ...models import ChunkModel
from ...types import Prefix, PrimitiveControllers
from ..base import PolicySpec
from .way import Question, Way, alternatives


def _with(question: Question, prefix: Prefix | None) -> PrimitiveControllers:
    return question.plans.plan(question.window, rng=question.rng, prefix=prefix)


@dataclass(frozen=True)
class Conditioned(Way):
    """The steps that are executed until the plan arrives are given to a family that conditions exactly on them."""

    continues = True

    def plan(self, question: Question) -> PrimitiveControllers:
        return _with(question, None if question.held is None else question.held.firm())

    def check(self, model: ChunkModel, spec: PolicySpec) -> None:
        if model.conditioning != "exact":
            raise RecipeError(
                f"{type(spec.model).__name__} does not condition exactly on known steps. Use another --realtime: "
                f"{alternatives(model)}. Or train a mixture, lstm-gmm, energy, streaming, forcing or bet, tokens "
                "or autoregressive with --tokenizer binning or kmeans, or diffusion or flow with --prefix-delays."
            )


@dataclass(frozen=True)
class Trained(Way):
    """The steps that are executed until the plan arrives are given clean, as in training with `prefix_delays`.

    (Training-time real-time chunking: Black et al. 2025, arXiv 2512.05964.)
    """

    continues = True

    def plan(self, question: Question) -> PrimitiveControllers:
        return _with(question, None if question.held is None else question.held.firm())

    def check(self, model: ChunkModel, spec: PolicySpec) -> None:
        if not model.takes_clean_prefix:
            raise RecipeError(
                f"this {type(spec.model).__name__} was not trained with clean first steps. Use another --realtime: "
                f"{alternatives(model)}. Or train diffusion or flow with --prefix-delays 0 1 2 3 4, or streaming "
                "or forcing."
            )


@dataclass(frozen=True)
class Guided(Way):
    """The plan is guided towards the running one, with weights that fall along the chunk (real-time chunking).

    Guidance is not conditioning: one plan in five to seven leaves the running mode (docs/choose.md). Black et al. 2025
    (arXiv 2506.07339), algorithm 1.

    Attributes:
        jacobian: Differentiate through the network. Without, as in LeRobot's implementation, the correction is
            W (Y − x̂).
    """

    continues = True

    jacobian: bool = True

    def plan(self, question: Question) -> PrimitiveControllers:
        return _with(question, None if question.held is None else question.held.soft(jacobian=self.jacobian))

    def check(self, model: ChunkModel, spec: PolicySpec) -> None:
        if not model.can_be_guided:
            raise RecipeError(
                f"{type(spec.model).__name__} cannot be guided: only diffusion, flow, shortcut, meanflow, streaming "
                f"and forcing can. Use another --realtime: {alternatives(model)}."
            )
