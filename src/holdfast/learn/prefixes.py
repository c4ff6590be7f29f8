"""Number of clean first steps of each chunk of a training batch, for families with `clean_prefix`."""

import torch
from jaxtyping import Int
from torch import Tensor


def drawn_known(delays: tuple[int, ...], count: int, *, rng: torch.Generator) -> Int[Tensor, " count"] | None:
    """Delays with equal probability, drawn after all other randomness of an update; `None` for no delays.

    >>> drawn_known((), 3, rng=torch.Generator()) is None
    True
    """
    if not delays:
        return None
    index = torch.randint(len(delays), (count,), generator=rng, device=rng.device)
    return torch.tensor(delays, device=rng.device)[index]
