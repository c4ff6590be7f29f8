"""The families of tokens, against sums written out by hand."""

import itertools
from dataclasses import replace

import pytest
import torch

from holdfast.errors import RecipeError
from holdfast.models import AutoregressiveTokens, IndependentTokens, Offsets, Sizes, bet, vq_bet
from holdfast.models.offsets import correction
from holdfast.models.token_law import choose, token_loss
from holdfast.nn import FilmMlp, Gpt
from holdfast.seeding import stream
from holdfast.tokens import Binning, Fast, KMeans, fit_tokenizer
from holdfast.types import Batch, Observation, Prefix

MLP = FilmMlp(widths=(16,), embedding=8, bounded=False)
SIZES = Sizes(horizon=3, width=2, n_observed=2)


def chunks(count, seed=0):
    return 2 * torch.rand(count, 3, 2, generator=stream(seed, "chunks"), dtype=torch.float64) - 1


def made(options, seed=0):
    tokenizer = fit_tokenizer(options.tokenizer, chunks(300, 7), seed=0)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return options.build(SIZES, tokenizer=tokenizer).double()


def batch(count=4):
    observation = torch.randn(count, 1, 2, generator=stream(0, "o"), dtype=torch.float64)
    return Batch(
        observation=Observation(state=observation), chunk=chunks(count), mask=torch.ones(count, 3, dtype=torch.bool)
    )


def test_focal_loss_by_hand(gaussian):
    logits, ids = gaussian(0, 2, 3, 5), torch.tensor([[0, 4, 2], [1, 1, 3]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    p = logits.exp() / logits.exp().sum(-1, keepdim=True)
    for gamma in (0.0, 2.0):
        expected = torch.zeros(2, 3, dtype=torch.float64)
        for b, i in itertools.product(range(2), range(3)):
            if mask[b, i]:
                expected[b, i] = -((1 - p[b, i, ids[b, i]]) ** gamma) * p[b, i, ids[b, i]].log()
        torch.testing.assert_close(token_loss(logits, ids, mask, focal=gamma), expected)


def test_tokens_are_chosen_in_proportion_and_never_where_they_do_not_fit():
    logits = torch.tensor([[0.0, 1.0, -1.0, 0.5]]).expand(20_000, 4)
    fits = torch.tensor([[True, False, True, True]]).expand(20_000, 4)
    uniform = torch.rand(20_000, generator=stream(0))
    ids = choose(logits, uniform, temperature=0.5, fits=fits)
    weights = torch.tensor([0.0, float("-inf"), -2.0, 1.0]).exp()
    torch.testing.assert_close(torch.bincount(ids, minlength=4) / 20_000, weights / weights.sum(), rtol=0, atol=0.015)
    assert set(choose(logits, uniform, temperature=0.0, fits=fits).tolist()) == {3}


@pytest.mark.parametrize("last", [0.0, 1 - 1e-8, 1.0])
def test_the_ends_of_the_line_are_allowed_tokens(last):
    logits = torch.tensor([[-50.0, 30.0, 0.0, -50.0]])
    fits = torch.tensor([[False, True, True, False]])
    (chosen,) = choose(logits, torch.tensor([last]), temperature=1.0, fits=fits)
    assert int(chosen) in (1, 2)


def test_bets_offset_acts_on_the_true_bin():
    """The offsets of other bins get no gradient, and the true bin's is drawn to the residual."""
    model = made(bet(network=MLP, clusters=6))
    one = batch(1)
    logits, offsets = model.predict(one.observation.vector)
    offsets = offsets.detach().requires_grad_(True)
    true = model.tokenizer.encode(one.chunk).ids
    centres = model.tokenizer.decode(model.tokenizer.encode(one.chunk)).double()
    error = centres + correction(model.tokenizer, offsets, true) - one.chunk
    error.square().sum().backward()
    by_bin = offsets.grad.view(3, 6, 2)
    for step, own in enumerate(true[0].tolist()):
        others = [index for index in range(6) if index != own]
        assert float(by_bin[step, others].abs().max()) == 0
        expected = 2 * (centres + offsets.detach().view(1, 3, 6, 2)[:, torch.arange(3), true[0]] - one.chunk)[0, step]
        torch.testing.assert_close(by_bin[step, own], expected)
    assert logits.shape == (1, 3, 6)


def test_bets_loss_by_hand():
    model, some = made(bet(network=MLP, clusters=6)), batch()
    logits, offsets = model.predict(some.observation.vector)
    true = model.tokenizer.encode(some.chunk).ids
    p = logits.softmax(-1).gather(-1, true[..., None])[..., 0]
    focal = (-((1 - p) ** 2) * p.log()).mean()
    corrected = model.tokenizer.decode(model.tokenizer.encode(some.chunk)).double().clone()
    for b, step in itertools.product(range(4), range(3)):
        corrected[b, step] += offsets.view(4, 3, 6, 2)[b, step, true[b, step]]
    expected = focal + 100.0 * (corrected - some.chunk).square().mean()
    draws = model.draw(some.chunk.shape, rng=stream(0))
    torch.testing.assert_close(model.loss(some, draws), expected, check_dtype=False)


def test_offsets_of_drawn_codes_as_published():
    published = Offsets(weight=10.0, tokens="drawn", penalty="l1")
    model, some = made(replace(vq_bet(network=MLP), offsets=published)), batch()
    losses = {float(model.loss(some, model.draw(some.chunk.shape, rng=stream(seed))).detach()) for seed in range(6)}
    assert len(losses) > 1, "which codes are drawn depends on the draws"


def test_log_likelihoods_sum_to_one_over_all_codes():
    """An autoregressive model over codes of three tokens of four: all 64 written out."""
    model = made(AutoregressiveTokens(KMeans(clusters=4), Gpt(layers=1, heads=2, width=8)))
    codes = torch.tensor(list(itertools.product(range(4), repeat=3)))
    observation = torch.zeros(64, 1, 2, dtype=torch.float64)
    logits = model.network(codes, model.network.encode(observation))
    log_p = logits.log_softmax(-1).gather(-1, codes[..., None]).sum((1, 2))
    assert float(log_p.detach().exp().sum()) == pytest.approx(1.0, abs=1e-9)
    some = chunks(64)
    ids = model.tokenizer.encode(some).ids
    places = ids[:, 0] * 16 + ids[:, 1] * 4 + ids[:, 2]
    found = model.log_likelihood(Observation(state=observation), some)
    torch.testing.assert_close(found, log_p[places], rtol=1e-5, atol=1e-5, check_dtype=False)


def test_drawn_codes_follow_the_models_law():
    """The shares of first tokens among 4000 draws against the model's own probabilities."""
    model = made(AutoregressiveTokens(KMeans(clusters=4), Gpt(layers=1, heads=2, width=8)), seed=3)
    observation = torch.ones(4000, 1, 2, dtype=torch.float64)
    drawn = model.tokenizer.encode(model.sample(Observation(state=observation), rng=stream(0))).ids
    logits = model.network(drawn, model.network.encode(observation)).softmax(-1)[0, 0]
    shares = torch.bincount(drawn[:, 0], minlength=4) / 4000
    torch.testing.assert_close(shares, logits.detach(), rtol=0, atol=0.03, check_dtype=False)


def test_known_steps_force_their_tokens_and_later_tokens_see_them():
    model = made(AutoregressiveTokens(Binning(bins=8), Gpt(layers=1, heads=2, width=8)), seed=1)
    observation = torch.zeros(500, 1, 2, dtype=torch.float64)
    held = chunks(1)[:, :1].expand(500, -1, -1)
    prefix = Prefix(chunk=held, weights=torch.ones(1, dtype=torch.float64))
    drawn = model.sample(Observation(state=observation), rng=stream(0), prefix=prefix)
    torch.testing.assert_close(drawn[:, :1], held)
    # the share of the third token given the two forced ones, against the model's own conditional probability
    forced = model.tokenizer.encode(drawn).ids
    p = model.network(forced[:1], model.network.encode(observation[:1])).softmax(-1)[0, 2]
    shares = torch.bincount(forced[:, 2], minlength=8) / 500
    torch.testing.assert_close(shares, p.detach(), rtol=0, atol=0.08, check_dtype=False)


def test_codes_of_several_lengths_are_always_whole():
    """An untrained model writes codes that decode, whatever it draws."""
    model = made(AutoregressiveTokens(Fast(scale=5.0, vocabulary=96), Gpt(layers=1, heads=2, width=8), temperature=3.0))
    drawn = model.sample(Observation(state=torch.zeros(300, 1, 2, dtype=torch.float64)), rng=stream(0))
    assert bool(drawn.isfinite().all())


def test_offsets_need_codes_of_one_length():
    with pytest.raises(RecipeError, match="variable length"):
        made(IndependentTokens(Fast(), MLP, offsets=Offsets()))
    with pytest.raises(RecipeError, match="weight above 0"):
        Offsets(weight=0.0)
