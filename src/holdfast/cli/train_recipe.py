"""The recipe of `holdfast train`: the data's default, changed by a recipe file, changed by the options.

    default_recipe(episodes) ──► fields of --recipe FILE ──► options

Changes are plain values, nested as in recipe.json. A field that holds alternatives (a model, a codec) is replaced where
the change names another `kind`, and changed field by field where it does not.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ..control import Dare, NoFeedback, Receding, Tvlqr
from ..data.robosuite_task import with_goals
from ..errors import HoldfastError, RecipeError, nearest
from ..files import read_json, shown
from ..learn import default_recipe, estimator_recipe
from ..models import Diffusion, Family, Flow, family_named, with_tokenizer
from ..nn import Vision, network_named
from ..policy import upgrade
from ..recipe import LearnedLinear, LearnedMlp, Recipe, Simulated
from ..schema import from_plain, to_plain
from ..tokens import tokenizer_named
from ..types import Episodes

Synthesis = Tvlqr | Dare | Receding | NoFeedback

_OF_THE_RUN, _OF_THE_DATA = ("version", "holdfast", "data"), ("n_states", "n_actions", "n_observed")


def read_changes(path: Path | None) -> dict[str, Any]:
    """The fields in a recipe file, without those that describe the data or the run.

    Raises:
        RecipeError: The file does not exist or is no JSON object.
    """
    if path is None:
        return {}
    try:
        plain = read_json(path, error=RecipeError)
    except (OSError, HoldfastError) as error:
        raise RecipeError(f"--recipe {path} cannot be read as JSON ({error}). Give a file like recipe.json.") from error
    if not isinstance(plain, dict):
        raise RecipeError(f"--recipe {path}: expected a JSON object with fields of a recipe, got {shown(plain)}.")
    fields = cast("dict[str, Any]", plain)
    current = upgrade(fields) if "version" in fields else fields
    changes = {key: value for key, value in current.items() if key not in _OF_THE_RUN}
    if isinstance(policy := changes.get("policy"), dict):
        fields = cast("dict[str, Any]", policy)
        changes["policy"] = {key: value for key, value in fields.items() if key not in _OF_THE_DATA}
    return changes


def changed_recipe(episodes: Episodes, changes: Mapping[str, Any], *, synthesis: str | None, source: str) -> Recipe:
    """The data's default recipe with changes.

    Args:
        episodes: Demonstrations.
        changes: Plain values, nested as in recipe.json.
        synthesis: Method that will compute the gains, where an option selects it.
        source: Name of the changes in error messages.

    Raises:
        RecipeError: Unknown or invalid fields; a codec and a synthesis that contradict each other.
    """
    try:
        vision, gains = _vision(changes), _gains(changes, synthesis)
        if changes.get("selection", {}).get("estimate") and vision is not None:
            recipe = estimator_recipe(episodes, vision)
        else:
            recipe = default_recipe(episodes, gains=gains, vision=vision)
        made = from_plain(Recipe, combined(to_plain(recipe), _replicated(changes), strict=True))
        if made.preparation.absolute_actions and made.environment is not None:
            # the data become absolute only when they are prepared
            made = replace(made, environment=with_goals(made.environment))
        return made
    except HoldfastError as error:
        raise RecipeError(f"{source}: {error}") from error


def _vision(changes: Mapping[str, Any]) -> Vision | None:
    policy = changes.get("policy")
    plain = cast("Mapping[str, Any]", policy).get("vision") if isinstance(policy, Mapping) else None
    return None if plain is None else from_plain(Vision, plain)


def _gains(changes: Mapping[str, Any], synthesis: str | None) -> bool | None:
    """Whether gains are asked for; `None` where neither the codec nor the synthesis is given."""
    codec, stored = _kind(changes.get("policy"), "codec"), _kind(changes, "synthesis")
    method = synthesis or ("none" if stored == "NoFeedback" else stored.lower())
    asked = {codec == "Affine"} if codec and codec != "Waypoints" else set[bool]()
    asked |= {method != "none"} if method else set()
    if len(asked) == 2:
        raise RecipeError(
            f"the codec {codec.lower()} and the synthesis {method} contradict each other: the codec affine holds "
            "synthesized gains, the codec actions holds none. Remove one of them."
        )
    # way-points take nothing from gains but a stiffness
    return asked.pop() if asked else False if codec == "Waypoints" else None


def _kind(plain: Any, field: str) -> str:
    value = cast("Mapping[str, Any]", plain).get(field) if isinstance(plain, Mapping) else None
    return str(cast("Mapping[str, Any]", value).get("kind", "")) if isinstance(value, Mapping) else ""


def _replicated(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The changes, with equal noise in training and at deployment (the replica policy) unless both are given."""
    training, policy = changes.get("training"), changes.get("policy", {})
    if not isinstance(training, Mapping) or "sigma_train" not in training or not isinstance(policy, Mapping):
        return changes
    execution = cast("Mapping[str, Any]", policy).get("execution", {})
    if not isinstance(execution, Mapping) or "sigma_deploy" in execution:
        return changes
    sigma = cast("Mapping[str, Any]", training)["sigma_train"]
    return combined(changes, {"policy": {"execution": {"sigma_deploy": sigma}}})


def combined(
    plain: Mapping[str, Any], changes: Mapping[str, Any], *, strict: bool = False, where: str = "recipe"
) -> Any:
    """Plain values with changes, field by field.

    Args:
        plain: Values to change.
        changes: New values of some fields.
        strict: Refuse fields that `plain` does not have.
        where: Place of `plain`, for error messages.

    >>> combined({"training": {"steps": 4, "batch_size": 2}}, {"training": {"steps": 5}})
    {'training': {'steps': 5, 'batch_size': 2}}
    """
    result = dict(plain)
    for key, value in changes.items():
        if strict and key not in plain and key != "kind":
            known = [name for name in plain if name != "kind"]
            raise RecipeError(f"{where} has no field {key!r}. Known: {', '.join(known)}.{nearest(key, known)}")
        before = plain.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            old, new = cast("Mapping[str, Any]", before), cast("Mapping[str, Any]", value)
            if new.get("kind", old.get("kind")) == old.get("kind"):
                result[key] = combined(old, new, strict=strict, where=f"{where}.{key}")
                continue
        if key not in plain or not _is_empty(value):
            result[key] = value
    return result


def _is_empty(value: Any) -> bool:
    """Whether nested changes change nothing; they must not replace a value of the wrong type before it is refused."""
    return isinstance(value, Mapping) and all(map(_is_empty, cast("Mapping[str, Any]", value).values()))


def model_for(default: Family, *, family: str | None, network: str | None, tokenizer: str | None) -> Family:
    """The model of the recipe so far, with the family, network and tokenizer of the options.

    Raises:
        RecipeError: A network for a family that has its own, or for a model of several networks.
    """
    chosen = network_named(network) if network else None
    if family is not None and network is not None and not _takes_network(family):
        raise RecipeError(f"the family {family} has a network of its own. Remove --network {network}.")
    model: Any = default
    if family is not None:
        suits = default.network if isinstance(default, Diffusion) else network_named("residual-mlp")
        model = family_named(family, chosen or suits)
        if isinstance(model, Diffusion) and isinstance(default, Diffusion):
            model = replace(model, sampler=default.sampler)
    elif chosen is not None:
        if not hasattr(model, "network"):
            raise RecipeError(f"{type(model).__name__} has several networks. Change them in the --recipe file instead.")
        model = replace(model, network=chosen)
    return with_tokenizer(model, tokenizer_named(tokenizer)) if tokenizer else model


def _takes_network(family: str) -> bool:
    return family_named(family, network_named("residual-mlp")) != family_named(family, network_named("film-mlp"))


def with_clean_prefix(model: Family, delays: tuple[int, ...]) -> Family:
    """The model with clean first steps, if there are any delays.

    Raises:
        RecipeError: The family cannot be trained so.
    """
    if isinstance(model, Diffusion | Flow):
        return replace(model, clean_prefix=bool(delays))
    if not delays:
        return model
    raise RecipeError(
        f"--prefix-delays is for the families diffusion and flow, not for {type(model).__name__}. Remove it: streaming "
        "learns from chunks with clean first steps anyway, and mixture, energy, tokens and bet condition exactly."
    )


def synthesis_for(name: str | None, default: Synthesis) -> Synthesis:
    """The synthesis of an option, with the cost of the recipe so far."""
    match name, default:
        case _, NoFeedback():
            return default
        case "dare", _:
            return Dare(default.state_weight, default.action_weight)
        case "receding", _:
            return Receding(default.state_weight, default.action_weight)
        case "tvlqr", Dare() | Receding():
            return Tvlqr(default.state_weight, default.action_weight)
        case _:
            return default


def dynamics_for(name: str | None, exploration: Path | None, recipe: Recipe) -> Simulated | LearnedLinear | LearnedMlp:
    """The dynamics of options, or those of the recipe so far.

    Raises:
        RecipeError: Nothing uses dynamics, or nothing learns from the exploration.
    """
    if (name or exploration) and isinstance(recipe.synthesis, NoFeedback):
        raise RecipeError("--dynamics and --exploration are for gains. Add --synthesis tvlqr.")
    if exploration and name not in ("linear", "mlp"):
        raise RecipeError("--exploration is for learned dynamics. Add --dynamics linear or --dynamics mlp.")
    explored = str(exploration.resolve()) if exploration else ""
    match name:
        case "linear":
            return LearnedLinear(exploration=explored)
        case "mlp":
            return LearnedMlp(exploration=explored)
        case "simulated":
            return Simulated()
        case _:
            return recipe.dynamics
