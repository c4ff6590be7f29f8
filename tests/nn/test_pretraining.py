"""Losses of pre-training against formulas written out, masks, patches, and what holds of every method."""

import math

import pytest
import torch

from holdfast.errors import DataError, RecipeError
from holdfast.nn import (
    Cameras,
    ResNet18,
    SelfSupervised,
    SmallCnn,
    SmallVit,
    View,
    Vision,
    encoders_with,
    read_encoder,
)
from holdfast.nn.vision.pretraining import (
    METHODS,
    Autoencoder,
    Contrastive,
    MaskedAutoencoder,
    VariationalAutoencoder,
)
from holdfast.nn.vision.pretraining.alterations import altered, drawn_alterations
from holdfast.nn.vision.pretraining.autoencoder import ROUNDING, gaussian_kl, negative_log_likelihood
from holdfast.nn.vision.pretraining.contrastive import nt_xent
from holdfast.nn.vision.pretraining.masked import grid_positions, hidden_patches, normalised, patches_of, picture_of
from holdfast.nn.vision.self_supervised import encoder_bytes

CNN, VIT = SmallCnn(channels=4, strides=(2, 2)), SmallVit(patch=8, width=16, layers=1, heads=2, features=6)
CASES = [
    (VariationalAutoencoder(latent=5), CNN),
    (VariationalAutoencoder(latent=5, variance=0.1, beta=2.0), VIT),
    (Autoencoder(latent=5), CNN),
    (MaskedAutoencoder(width=16, layers=1, heads=2), VIT),
    (Contrastive(hidden=8, projected=6), CNN),
    (Contrastive(hidden=8, projected=6), VIT),
]
every = pytest.mark.parametrize(("method", "encoder"), CASES, ids=lambda one: type(one).__name__)


def vision(encoder, channels=3):
    view = View(camera="top", height=36, width=44, channels=channels, crop=(32, 40))
    return Vision(views=(view,), encoder=encoder, readings="none", noises=1)


def pictures(count, channels=3, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 36, 44, channels), generator=rng, dtype=torch.uint8)


def model_of(method, encoder, channels=3):
    torch.manual_seed(0)
    return method.build(vision(encoder, channels))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_whole_table_is_in_this_suite():
    assert {type(method) for method in METHODS.values()} == {type(method) for method, _ in CASES}


@every
@pytest.mark.parametrize("channels", [1, 3])
def test_the_loss_depends_on_draws_and_falls(method, encoder, channels):
    model, seen = model_of(method, encoder, channels), pictures(8, channels)
    draws, others = model.draw(8, rng=rng(0)), model.draw(8, rng=rng(1))
    assert torch.equal(model(seen, draws), model(seen, draws))
    assert not torch.equal(model(seen, draws), model(seen, others))
    first = float(model(seen, draws).detach())
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(30):
        optimiser.zero_grad()
        loss = model(seen, draws)
        loss.backward()
        assert all(p.grad is not None for p in model.parameters())
        optimiser.step()
    assert float(model(seen, draws).detach()) < first
    rows = model.shown(seen, draws)
    assert {tuple(row.shape) for row in rows.values()} == {(8, channels, 32, 40)}
    assert len(rows) >= 2


def test_the_divergence_is_that_of_the_integral():
    """KL of one normal law from the standard one, by quadrature of p log(p / q)."""
    mean, std = 0.7, 0.4
    x = torch.linspace(-8, 8, 200_001, dtype=torch.float64)
    p = torch.distributions.Normal(mean, std)
    q = torch.distributions.Normal(0.0, 1.0)
    integral = float(torch.trapezoid(p.log_prob(x).exp() * (p.log_prob(x) - q.log_prob(x)), x))
    found = gaussian_kl(torch.tensor([[mean]]).double(), torch.tensor([[2 * math.log(std)]]).double())
    assert float(found) == pytest.approx(integral, rel=1e-5)
    # μ = (1, −2) and s² = (1, e), term by term
    by_hand = 0.5 * ((1 + 1 - 1 - 0) + (4 + math.e - 1 - 1))
    assert float(gaussian_kl(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 1.0]]))) == pytest.approx(by_hand)


def test_the_likelihood_is_gaussian_and_its_variance_the_most_likely():
    error = torch.randn(4, 3, 5, generator=rng())
    law = torch.distributions.Normal(0.0, math.sqrt(0.3))
    assert float(negative_log_likelihood(error, 0.3)) == pytest.approx(-float(law.log_prob(error).mean()), rel=1e-5)
    best = float(negative_log_likelihood(error, None))
    assert all(best < float(negative_log_likelihood(error, v)) for v in (0.5, 0.9, 1.5))
    assert float(negative_log_likelihood(torch.zeros(3), None)) == pytest.approx(0.5 * math.log(2 * math.pi * ROUNDING))


def test_the_bound_is_likelihood_and_divergence():
    """−ELBO / D, from the parts of the model; β weighs the divergence alone."""
    losses = []
    for beta in (0.0, 1.0, 3.0):
        model, seen = model_of(VariationalAutoencoder(latent=5, variance=0.2, beta=beta), CNN), pictures(3)
        losses.append(float(model(seen, draws := model.draw(3, rng=rng())).detach()))
    mean, log_variance = model.posterior(model.crops(seen, draws["places"]))
    expected = float((gaussian_kl(mean, log_variance).mean() / (32 * 40 * 3)).detach())
    assert losses[1] - losses[0] == pytest.approx(expected, rel=1e-3)
    assert losses[2] - losses[0] == pytest.approx(3 * expected, rel=1e-3)


def test_pairs_are_compared_as_in_the_formula():
    first, second, tau = torch.randn(5, 4, generator=rng()), torch.randn(5, 4, generator=rng(1)), 0.3
    z = [*first, *second]
    total = 0.0
    for i in range(10):
        j = (i + 5) % 10
        cosines = [float(torch.cosine_similarity(z[i], z[k], dim=0)) / tau for k in range(10)]
        total -= math.log(math.exp(cosines[j]) / sum(math.exp(c) for k, c in enumerate(cosines) if k != i))
    assert float(nt_xent(first, second, tau)) == pytest.approx(total / 10, rel=1e-5)
    # equal copies of orthogonal vectors: −1/τ + log(e^{1/τ} + 2 (b − 1))
    eye = torch.eye(4)
    assert float(nt_xent(eye, eye, tau)) == pytest.approx(-1 / tau + math.log(math.exp(1 / tau) + 6), rel=1e-5)


def test_alterations_keep_what_they_should():
    pixels = 2 * torch.rand(6, 3, 4, 5, generator=rng()) - 1
    half = {name: torch.full((6,), 0.5) for name in drawn_alterations(1, rng=rng())}
    # a factor of 1 changes nothing, and no picture is grey
    assert torch.allclose(altered(pixels, half, strength=0.4, grey=0.0), pixels, atol=1e-6)
    grey = altered(pixels, half, strength=0.4, grey=1.0)
    light = 0.299 * pixels[:, 0] + 0.587 * pixels[:, 1] + 0.114 * pixels[:, 2]
    assert torch.allclose(grey, light[:, None].expand_as(grey), atol=1e-5)
    dark = altered(pixels, {**half, "brightness": torch.zeros(6)}, strength=0.4, grey=0.0)
    assert torch.allclose((dark + 1) / 2, 0.6 * (pixels + 1) / 2, atol=1e-6)
    one = altered(pixels[:, :1], drawn_alterations(6, rng=rng()), strength=0.4, grey=1.0)
    assert one.shape == (6, 1, 4, 5)
    assert one.abs().max() <= 1


def test_patches_and_pictures_are_inverses():
    pixels = torch.randn(2, 3, 16, 24, generator=rng())
    patches = patches_of(pixels, 8)
    assert patches.shape == (2, 6, 192)
    assert torch.equal(patches[1, 4], pixels[1, :, 8:16, 8:16].flatten())
    assert torch.equal(picture_of(patches, 8, (16, 24)), pixels)
    flat = normalised(patches)
    assert torch.allclose(flat.mean(-1), torch.zeros(2, 6), atol=1e-5)
    assert torch.allclose(flat.std(-1), torch.ones(2, 6), atol=1e-4)


def test_masks_are_a_partition_of_the_asked_size():
    scores = torch.rand(400, 16, generator=rng())
    visible, hidden = hidden_patches(scores, 0.75)
    assert visible.shape == (400, 4)
    assert torch.equal(torch.cat([visible, hidden], 1).sort(1).values, torch.arange(16).expand(400, 16))
    # every patch is visible a quarter of the time: 100 of 400, standard deviation 8.7
    counts = torch.bincount(visible.flatten(), minlength=16)
    assert (counts - 100).abs().max() < 5 * 8.7
    assert hidden_patches(torch.rand(3, 4), 0.99)[0].shape == (3, 1)
    assert hidden_patches(torch.rand(3, 4), 0.01)[1].shape == (3, 1)


def test_places_are_distinguishable():
    found = grid_positions((3, 4), 16)
    assert found.shape == (12, 16)
    assert torch.cdist(found, found).fill_diagonal_(9).min() > 0.1


def test_the_encoder_sees_visible_patches_alone():
    """What lies in hidden patches changes targets, not what is drawn."""
    model, seen = model_of(MaskedAutoencoder(width=16, layers=1, heads=2), VIT), pictures(2)
    pixels = model.crops(seen)
    visible, hidden = hidden_patches(model.draw(2, rng=rng())["scores"], 0.75)
    place = hidden[..., None].expand(-1, -1, 192)
    others = patches_of(pixels, 8).scatter(1, place, 0.3)
    other = picture_of(others, 8, (32, 40))
    # a convolution over all patches may round those of a picture differently
    assert torch.allclose(model.decoded(pixels, visible, hidden), model.decoded(other, visible, hidden), atol=1e-5)
    changed = picture_of(patches_of(pixels, 8).scatter(1, visible[..., None].expand(-1, -1, 192), 0.3), 8, (32, 40))
    assert not torch.allclose(model.decoded(pixels, visible, hidden), model.decoded(changed, visible, hidden))


def test_drawn_patches_are_in_their_places():
    """Tokens return to the order of the picture: a decoder without blocks gives each visible patch its own token."""
    model = model_of(MaskedAutoencoder(width=16, layers=1, heads=2), VIT)
    model.blocks, pixels = torch.nn.ModuleList(), model.crops(pictures(2))
    model.positions.zero_()
    visible, hidden = hidden_patches(model.draw(2, rng=rng())["scores"], 0.75)
    drawn = model.decoded(pixels, visible, hidden)
    masked = drawn.gather(1, hidden[..., None].expand(-1, -1, 192))
    assert torch.allclose(masked, masked[:1, :1].expand_as(masked))
    seen = drawn.gather(1, visible[..., None].expand(-1, -1, 192))
    assert (seen - masked[:, :1]).abs().amax(-1).min() > 1e-6


def test_the_kept_head_has_uncorrelated_features_of_variance_one():
    model, seen = model_of(MaskedAutoencoder(width=16, layers=1, heads=2), VIT), pictures(64)
    features = model.ready_encoder(seen)(model.crops(seen)).detach().double()
    moments = features.mT @ features / len(features)
    assert features.mean(0).abs().max() < 1e-2
    off = moments - torch.diag(moments.diagonal())
    assert off.abs().max() < 1e-2
    assert (moments.diagonal() <= 1 + 1e-2).all()


def test_masking_needs_patches():
    with pytest.raises(RecipeError, match="Add --encoder vit, or choose --method vae, ae or contrastive"):
        MaskedAutoencoder().build(vision(CNN))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: VariationalAutoencoder(beta=-1.0),
        lambda: VariationalAutoencoder(variance=0.0),
        lambda: MaskedAutoencoder(share=1.0),
        lambda: MaskedAutoencoder(width=18, heads=2),
        lambda: Contrastive(temperature=0.0),
    ],
)
def test_odd_options_are_refused(wrong):
    with pytest.raises(RecipeError):
        wrong()


def stored(tmp_path, encoder=VIT, channels=3, size=(32, 40)):
    torch.manual_seed(1)
    options = SelfSupervised.of(encoder, "Autoencoder", channels=channels, size=size)
    net = encoder.build(channels, size)
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(encoder_bytes(options, net))
    return path, net


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("encoder", [CNN, VIT], ids=["cnn", "vit"])
def test_a_stored_encoder_is_read_again(tmp_path, encoder, frozen):
    path, net = stored(tmp_path, encoder)
    for place in (path, tmp_path):
        options, weights = read_encoder(None, place)
        assert options.weights
    from dataclasses import replace

    cameras = encoders_with(vision(replace(options, frozen=frozen)), weights)
    assert len(list(cameras.parameters())) == (0 if frozen else len(list(net.parameters())))
    seen = pictures(3)
    plain = Cameras(vision(encoder))
    plain.encoders[0].load_state_dict(net.state_dict())
    expected = plain({"top": seen[:, None]})
    if encoder is VIT:
        expected = torch.nn.functional.layer_norm(expected, expected.shape[-1:])
    assert torch.allclose(cameras({"top": seen[:, None]}), expected, atol=1e-6)


def test_other_pictures_are_refused(tmp_path):
    options, _ = read_encoder(None, stored(tmp_path)[0])
    with pytest.raises(RecipeError, match="pre-trained on pictures of 3 channels, got pictures of 1"):
        Cameras(vision(options, channels=1))
    with pytest.raises(RecipeError, match="pre-trained on 32 × 40 pixels"):
        options.build(3, (40, 40))
    with pytest.raises(RecipeError, match=r"holds a pre-trained vit, not cnn\. Remove --encoder cnn"):
        read_encoder("cnn", tmp_path)
    with pytest.raises(RecipeError, match="cannot be pre-trained"):
        SelfSupervised.of(SelfSupervised(), "x", channels=3, size=(8, 8))


def test_damaged_files_are_refused(tmp_path):
    path, _ = stored(tmp_path)
    with pytest.raises(DataError, match="is not a file"):
        read_encoder("self-supervised", tmp_path / "nothing")
    content = bytearray(path.read_bytes())
    content[-5] ^= 64
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="damaged one"):
        read_encoder(None, path)
    options = SelfSupervised.of(VIT, "Autoencoder", channels=3, size=(32, 40))
    path.write_bytes(encoder_bytes(options, CNN.build(3, (32, 40))))
    with pytest.raises(DataError, match="instead of"):
        read_encoder(None, path)
    deep = SelfSupervised.of(SmallVit(layers=10**8), "Autoencoder", channels=3, size=(24, 24))
    path.write_bytes(encoder_bytes(deep, CNN.build(3, (32, 40))))
    with pytest.raises(DataError, match="fewer than the 100000000 layers"):
        read_encoder(None, path)
    huge = SelfSupervised.of(ResNet18(), "Autoencoder", channels=3, size=(10**9, 3))
    path.write_bytes(encoder_bytes(huge, CNN.build(3, (32, 40))))
    with pytest.raises(DataError, match="1000000000 × 3 pixels"):
        read_encoder(None, path)
