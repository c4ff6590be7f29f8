"""Options of policies that follow instructions."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from ..errors import RecipeError
from ..learn import language_of, text_features
from ..nn import Language
from ..schema import to_plain
from ..types import Episodes


@dataclass(frozen=True, kw_only=True)
class InstructionOptions:
    """Options of `holdfast train` for instructions."""

    instructions: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Let the policy follow the instructions of the episodes, such as the tasks of a LeRobot data set. Each instruction
    is a learned vector, unless --text-encoder is given. Default: as in --recipe, or else no instructions."""
    text_encoder: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """With --instructions: folder of a text encoder in Hugging Face's layout (config.json, model.safetensors and a
    tokenizer), whose features of the texts take the place of learned vectors. Such a policy can also be given
    instructions that it was not trained on. Needs the extra language. Default: learned vectors."""
    instruction_dropout: float | None = None
    """With --instructions: probability with which the instruction is left out in training, so that the policy also
    learns to act without one; `evaluate --instruction-guidance` needs it. Default: 0.1."""

    def language(self, episodes: Episodes) -> Language | None:
        """The instructions that the policy follows; `None` without --instructions.

        Raises:
            DataError: The data have no instructions.
            RecipeError: Options of instructions without --instructions, or a folder without a text encoder.
        """
        if not self.instructions:
            if self.text_encoder is not None or self.instruction_dropout is not None:
                raise RecipeError("--text-encoder and --instruction-dropout need --instructions.")
            return None
        found = language_of(episodes)
        if self.text_encoder is not None:
            size = text_features(self.text_encoder, found.instructions[:1]).shape[1]
            found = replace(found, text_encoder=self.text_encoder.resolve().name, n_text_features=size)
        return found if self.instruction_dropout is None else replace(found, dropout=self.instruction_dropout)

    def instruction_changes(self, episodes: Episodes) -> dict[str, Any]:
        """The options that were given, as fields of a stored policy."""
        language = self.language(episodes)
        if language is None:
            return {}
        # other fields, such as the width, may be those of --recipe
        given = {"kind", "instructions", "text_encoder", "n_text_features"}
        given |= {"dropout"} if self.instruction_dropout is not None else set()
        return {"language": {name: value for name, value in to_plain(language).items() if name in given}}

    def features_of(self, language: Language | None) -> torch.Tensor | None:
        """Features of the instructions from --text-encoder."""
        if language is None or self.text_encoder is None:
            return None
        return text_features(self.text_encoder, language.instructions)
