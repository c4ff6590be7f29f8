"""A process that loads run folders and reports how each loading ended. It serves until its input ends.

    python load_run.py < REQUESTS > REPORTS        one JSON list [folder, fingerprint of its data] a line

A report holds `acts` and `resumes`: a digest of the actions and of the training state, "refused" with the sentence in
`words`, or "traceback"; and `said`, the warnings. The process may use 6 GB.
"""

import hashlib
import json
import resource
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import holdfast as hf
from holdfast.errors import HoldfastError
from holdfast.learn import load_recipe
from holdfast.learn.checkpoint import load_state
from holdfast.learn.fingerprint import Fingerprint
from holdfast.models import tokenizer_options
from holdfast.tokens import load_tokenizer

MEMORY = 6 << 30


def actions(folder: Path) -> str:
    """Digest of six actions of two episodes."""
    policy = hf.load(folder, seed=1)
    rng = torch.Generator().manual_seed(0)
    states = torch.randn(6, 2, policy.spec.n_states, dtype=torch.float64, generator=rng)
    policy.reset(1)
    return digest([policy.select_action(state) for state in states])


def state(folder: Path, data: dict[str, Any]) -> str:
    """Digest of the training state, loaded as a resumed training loads it."""
    recipe = load_recipe(folder)
    tokens = tokenizer_options(recipe.policy.model) is not None
    tokenizer = load_tokenizer(folder / "tokenizer.safetensors") if tokens else None
    found = load_state(folder, data=Fingerprint(**data), recipe=recipe, tokenizer=tokenizer)
    parts = (found.parameters, found.average, found.moments.first, found.moments.second, found.moments.count)
    return digest([torch.tensor(found.step), *(values[name] for values in parts for name in sorted(values))])


def digest(tensors: list[torch.Tensor]) -> str:
    """Digest of the numbers of some tensors."""
    found = hashlib.sha256()
    for values in tensors:
        found.update(values.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def ended(load: Callable[[], str], words: list[str]) -> str:
    """How a loading ended."""
    try:
        return load()
    except HoldfastError as error:
        words.append(str(error))
        return "refused"
    except BaseException:
        words.append(traceback.format_exc())
        return "traceback"


def report(folder: Path, data: dict[str, Any]) -> dict[str, Any]:
    """The report on one folder."""
    words = list[str]()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        acts = ended(lambda: actions(folder), words)
        resumes = ended(lambda: state(folder, data), words)
    return {"acts": acts, "resumes": resumes, "words": words, "said": [str(one.message) for one in said]}


def main() -> None:
    """Serve requests."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    torch.set_num_threads(1)
    for line in sys.stdin:
        folder, data = json.loads(line)
        sys.stdout.write(json.dumps(report(Path(folder), data)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
