"""Instructions of demonstrations, and the features that a text encoder gives them."""

import importlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import DataError, MissingExtraError, RecipeError
from ..models import instructed_in
from ..nn import Language
from ..nn.language import NONE
from ..policy import Policy
from ..policy.planner import with_language
from ..types import Episodes


def language_of(episodes: Episodes, *, text_encoder: str = "", n_text_features: int = 0) -> Language:
    """The instructions of demonstrations, as a policy follows them.

    Args:
        episodes: Demonstrations with instructions.
        text_encoder: Name of the text encoder; "" for learned vectors.
        n_text_features: Number of its features.

    Raises:
        DataError: No episode has an instruction.
    """
    known = tuple(dict.fromkeys(task for task in episodes.tasks or () if task != NONE))
    if not known:
        raise DataError(
            "the data have no instructions that a policy could follow. Remove --instructions (in Python: "
            "language=None)."
        )
    return Language(instructions=known, text_encoder=text_encoder, n_text_features=n_text_features)


def check_instructions(language: Language | None, episodes: Episodes, features: Tensor | None) -> None:
    """Refuse episodes without instructions, or with others than those that the policy follows.

    Raises:
        DataError: There are no instructions, or unknown ones.
        RecipeError: Features of a text encoder are missing, or there are others than the recipe names.
    """
    if language is None:
        if features is not None:
            raise RecipeError("text_features are for a policy that follows instructions. Give the recipe a language.")
        return
    if episodes.tasks is None:
        raise DataError("the policy follows instructions, but the data have none.")
    if unknown := sorted({*episodes.tasks} - {NONE, *language.instructions}):
        raise DataError(f"the recipe does not name the instruction {unknown[0]!r:.200}. {language.known(unknown[0])}")
    if features is not None and _has_equal_rows(features):
        raise RecipeError(
            "the text encoder gives some of the instructions equal features, so that a policy could not tell them "
            "apart. Use another encoder, or learned vectors (without --text-encoder)."
        )
    if features is not None and tuple(features.shape) != (len(language.instructions), language.n_text_features):
        raise RecipeError(
            f"expected text_features of shape {[len(language.instructions), language.n_text_features]}, one row for "
            f"each instruction, got {list(features.shape)}."
        )


def _has_equal_rows(values: Float[Tensor, "n f"]) -> bool:
    pairs = torch.cdist(values, values, compute_mode="donot_use_mm_for_euclid_dist")
    return bool((pairs.triu(1) + torch.ones_like(pairs).tril() == 0).any())


def text_features(folder: str | Path, texts: Sequence[str]) -> Float[Tensor, "n f"]:
    """Features of texts from a text encoder in Hugging Face's layout: weights in safetensors, tokenizer, config.json.

    Encoders with a pooled output for texts (CLIP, SigLIP) give that; of others, it is the mean of the last hidden
    states over the tokens (Reimers and Gurevych 2019, arXiv 1908.10084). Nothing is downloaded, and no code in the
    folder is run.

    Args:
        folder: Folder of the encoder on this machine.
        texts: Texts.

    Raises:
        MissingExtraError: The package transformers is not installed.
        RecipeError: There is no such folder, or it holds no text encoder.
    """
    if not (Path(folder) / "config.json").is_file():
        raise RecipeError(
            "expected a folder with a text encoder in Hugging Face's layout (config.json, model.safetensors and a "
            f"tokenizer), got {folder}."
        )
    tokenizer, model = _encoder(folder)
    # SigLIP was trained on texts padded to one length
    padding = "max_length" if "siglip" in str(model.config.model_type) else True
    _check_length(tokenizer, model, texts)
    tokens = tokenizer(list(texts), padding=padding, return_tensors="pt")
    with torch.no_grad():
        if hasattr(model, "get_text_features"):
            found = model.get_text_features(**tokens)
            pooled = found if isinstance(found, Tensor) else found.pooler_output
        else:
            hidden = model(**tokens).last_hidden_state
            inside = tokens["attention_mask"][..., None].to(hidden)
            pooled = (hidden * inside).sum(dim=1) / inside.sum(dim=1)
    return pooled.float()


def _check_length(tokenizer: Any, model: Any, texts: Sequence[str]) -> None:
    """Refuse texts of more tokens than the encoder reads, of which a part would be ignored."""
    config = getattr(model.config, "text_config", model.config)
    most = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", tokenizer.model_max_length))
    for text in texts:
        if (count := len(tokenizer(text)["input_ids"])) > most:
            raise RecipeError(
                f"the instruction {text!r:.80} has {count} tokens, but the text encoder reads at most {most}. Shorten "
                "it."
            )


def _encoder(folder: str | Path) -> tuple[Any, Any]:
    """Tokenizer and model of a folder."""
    try:
        package: Any = importlib.import_module("transformers")
    except ImportError as error:
        raise MissingExtraError("transformers", extra="language") from error
    try:
        offline: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        tokenizer = package.AutoTokenizer.from_pretrained(str(folder), **offline)
        model = package.AutoModel.from_pretrained(str(folder), use_safetensors=True, **offline)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise RecipeError(f"{folder} holds no text encoder that can be read: {error!s:.300}") from error
    return tokenizer, model.eval()


def with_instructions(policy: Policy, texts: Sequence[str], folder: str | Path) -> Policy:
    """A policy that follows further instructions, which its text encoder relates to those that it was trained on.

    Args:
        policy: Policy whose instructions are seen by a text encoder.
        texts: Further instructions.
        folder: Folder of the same text encoder.

    Raises:
        RecipeError: The policy has learned vectors, or none, or the encoder has another number of features.
    """
    language, follows = policy.spec.language, instructed_in(policy.planner.model)
    if language is None or follows is None or not language.n_text_features:
        raise RecipeError(
            "only a policy with a text encoder can follow instructions that it was not trained on. Train with: "
            "holdfast train DATA --instructions --text-encoder FOLDER"
        )
    further = [text for text in dict.fromkeys(texts) if text not in language.instructions]
    if not further:
        return policy
    found = text_features(folder, further)
    if found.shape[1] != language.n_text_features:
        raise RecipeError(
            f"expected the text encoder {language.text_encoder} of the training, with {language.n_text_features} "
            f"features, got one with {found.shape[1]}."
        )
    longer = replace(language, instructions=(*language.instructions, *further))
    weights = policy.planner.model.state_dict()
    name = next(name for name in weights if name.endswith("instructions.features"))
    planner = with_language(policy.planner, longer, {name: torch.cat([weights[name], found.to(weights[name])])})
    return Policy(planner, execution=policy.spec.execution, realtime=policy.realtime)
