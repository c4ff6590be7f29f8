"""A trained policy with another guidance by instructions, or with an instruction that it was not trained on."""

from pathlib import Path

from ..errors import RecipeError
from ..learn import with_instructions
from ..policy import Policy


def instructed(policy: Policy, guidance: float | None, text: str | None, text_encoder: Path | None) -> Policy:
    """The policy as the options ask.

    Args:
        policy: The policy.
        guidance: Weight of classifier-free guidance; `None` keeps that of the recipe.
        text: Instruction that the policy will be given.
        text_encoder: Folder of a text encoder, for an instruction that the policy was not trained on.

    Raises:
        RecipeError: The policy follows no instructions, or its family knows no guidance.
    """
    if guidance is None and text is None and text_encoder is None:
        return policy
    language = policy.spec.language
    if language is None:
        raise RecipeError(
            "the policy was trained without instructions. Remove --instruction, --instruction-guidance and "
            "--text-encoder, or train with --instructions."
        )
    if guidance is not None:
        policy = policy.guided(guidance)
    if text_encoder is not None:
        if not text:
            raise RecipeError("--text-encoder is for an --instruction that the policy was not trained on.")
        policy = with_instructions(policy, [text], text_encoder)
    if text is not None:
        policy.instruct(text)
    return policy
