"""Which policies can be fine-tuned, and the process of each."""

from dataclasses import replace
from typing import assert_never

import torch
from jaxtyping import Bool
from torch import Tensor

from ...errors import LikelihoodError, RecipeError
from ...models import (
    ChunkModel,
    Diffusion,
    DiffusionModel,
    FamilyOptions,
    Flow,
    FlowModel,
    Mixture,
    MixtureModel,
    Regression,
    RegressionModel,
    Tuned,
)
from ...policy import Planner, PolicySpec
from .at_once import GaussianStep, MixtureStep
from .denoising import Denoising
from .options import FineTuning
from .process import Process

Tunable = Diffusion | Flow | Mixture | Regression
"""Families of whose sampling steps densities are defined here."""


def check_tunable(spec: PolicySpec, options: FineTuning) -> None:
    """Refuse a policy that cannot be fine-tuned.

    Raises:
        LikelihoodError: The densities of its family's sampling steps are not defined here.
        RecipeError: It sees pictures, follows instructions, averages or continues plans, or was fine-tuned already; or
            more sampling steps are asked for than there are.
    """
    tunable_steps(spec.model, options)
    if spec.vision is not None or spec.language is not None:
        what = "sees pictures" if spec.vision is not None else "follows instructions"
        raise RecipeError(f"the policy {what}; only policies of readings can be fine-tuned.")
    if spec.execution.ensemble is not None or spec.execution.stream:
        raise RecipeError(
            "the policy averages or continues its plans (ensemble, stream), so that an action does not depend on one "
            "plan alone. Train it without, or store it without: holdfast.Policy(planner, execution=...)."
        )


def tunable_steps(model: FamilyOptions, options: FineTuning) -> int:
    """Number K' of sampling steps that are fine-tuned.

    Raises:
        LikelihoodError: The densities of the family's sampling steps are not defined here.
        RecipeError: The model was fine-tuned already, has clean first steps, or samples in fewer steps.
    """
    if isinstance(model, Tuned):
        raise RecipeError(
            "the policy was fine-tuned already: its first sampling steps have other weights than its last. Continue it "
            "with holdfast finetune --resume RUN, or fine-tune the run that it came from."
        )
    if not isinstance(model, Tunable):
        raise LikelihoodError(
            f"a {type(model).__name__} cannot be fine-tuned by policy gradients, which need densities of its sampling "
            "steps. They are defined for diffusion and flow (each denoising step is Gaussian), for regression (a "
            "Gaussian about its chunk) and mixture."
        )
    match model:
        case Diffusion() | Flow():
            if model.clean_prefix:
                raise RecipeError("the policy was trained with --prefix-delays. Fine-tune one trained without them.")
            found = model.sampler.steps
        case Mixture() | Regression():
            found = 1
        case _:
            assert_never(model)
    asked = max(1, found // 2) if options.denoising_steps is None else options.denoising_steps
    if asked > found:
        raise RecipeError(
            f"expected at most {found} fine-tuned denoising steps, because this {type(model).__name__} samples in "
            f"{found}, got {asked}. Lower denoising_steps (--denoising-steps), or train with more sampling steps."
        )
    return asked


def process_of(planner: Planner, options: FineTuning) -> Process:
    """The process of a policy before fine-tuning; the policy's own weights are not changed.

    Raises:
        LikelihoodError: The densities of its family's sampling steps are not defined here.
        RecipeError: It cannot be fine-tuned with these options.
    """
    check_tunable(planner.spec, options)
    steps, counted = tunable_steps(planner.spec.model, options), counted_numbers(planner)
    model = _sampled_in_steps(planner, options)
    if isinstance(model, DiffusionModel | FlowModel):
        return Denoising(model, options, steps, counted)
    if isinstance(model, MixtureModel):
        return MixtureStep(model, options, counted)
    assert isinstance(model, RegressionModel)
    return GaussianStep(model, options, counted)


def counted_numbers(planner: Planner) -> Bool[Tensor, "h w"]:
    """The numbers of a chunk that change what is executed: those of executed steps and of varying coordinates."""
    spec = planner.spec
    executed = torch.arange(spec.horizon) < spec.execution.n_action_steps
    varies = ~planner.code_scale.constant
    if not bool(varies.any()):
        raise RecipeError("all coordinates of the policy's codes were constant in training: there is nothing to tune.")
    return executed[:, None] & varies[None, :]


def fine_tuned(planner: Planner, process: Process) -> Planner:
    """The planner with fine-tuned weights, as it is deployed: without the smallest standard deviations."""
    sizes = process.model.sizes
    if isinstance(process, Denoising) and process.before:
        options = Tuned(process.model.options, process.steps)
        weights = _copied(process.pretrained, "pretrained.") | _copied(process.tuned, "tuned.")
        return _with_model(planner, options, options.build(sizes), weights)
    family = process.model.options if isinstance(process, Denoising) else planner.spec.model
    return _with_model(planner, family, family.build(sizes), _copied(process.model, ""))


def _with_model(planner: Planner, family: FamilyOptions, model: ChunkModel, weights: dict[str, Tensor]) -> Planner:
    model.load_state_dict(weights, assign=True)
    return replace(planner, spec=replace(planner.spec, model=family), model=model.eval())


def _copied(model: torch.nn.Module, place: str) -> dict[str, Tensor]:
    return {f"{place}{name}": value.detach().clone() for name, value in model.state_dict().items()}


def _sampled_in_steps(planner: Planner, options: FineTuning) -> ChunkModel:
    """The pre-trained model, whose sampler adds fresh noise as the options ask, to first order."""
    family = planner.spec.model
    if isinstance(family, Diffusion):
        sampler = replace(family.sampler, eta=options.eta, order=1)
        family = replace(family, sampler=sampler)
    elif isinstance(family, Flow):
        family = replace(family, sampler=replace(family.sampler, eta=options.eta, method="euler"))
    # weights of a loaded policy may be packed; those of its state are not
    model = family.build(planner.generator.sizes)
    model.load_state_dict(_copied(planner.generator, ""), assign=True)
    return model
