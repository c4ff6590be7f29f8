"""What several rooms' tests share: a few expert flights and one tiny training on them."""

import signal
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from holdfast.control import MpcExpert, Quadrotor2D
from holdfast.learn import TrainingSet, default_recipe, planner_of, prepare, train_to_end
from holdfast.models import Diffusion, Sampler
from holdfast.nn import FilmMlp
from holdfast.policy import Planner
from holdfast.recipe import Recipe, Training
from holdfast.seeding import stream
from holdfast.types import Episodes

from .chromium import Browser, chromium
from .pictures import cut_texts


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Sums over threads differ in their last bits; on one thread equal seeds give equal bits."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def nothing_kept() -> Generator[None, None, None]:
    """No test reads what an earlier one kept in the cache of this user, or writes there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOLDFAST_CACHE", "off")
        yield


@pytest.fixture(scope="session")
def drone() -> Quadrotor2D:
    return Quadrotor2D()


@pytest.fixture(scope="session")
def demos(drone) -> Episodes:
    """Four expert flights of thirty steps."""
    starts = drone.initial_states(4, rng=stream(0, "tests", "demos"))
    flights = MpcExpert(drone, horizon=12).rollout(starts, 30)
    return Episodes.of(flights, dt=drone.dt, system=drone.name)


@pytest.fixture(scope="session")
def tiny_recipe(demos) -> Recipe:
    """The default recipe for those flights, with a network of 24 units and 40 updates."""
    recipe = default_recipe(demos)
    model = Diffusion(network=FilmMlp(widths=(24, 24), embedding=8), levels=20, sampler=Sampler(steps=4))
    training = Training(steps=40, batch_size=16, warmup_steps=4, save_every=10, sigma_train=0.1)
    return replace(recipe, policy=replace(recipe.policy, model=model, n_obs_steps=2), training=training)


@pytest.fixture(scope="session")
def tiny_data(tiny_recipe, demos) -> TrainingSet:
    return prepare(tiny_recipe, demos)


@pytest.fixture(scope="session")
def tiny_planner(tiny_recipe, tiny_data) -> Planner:
    """A planner after the tiny training: of no use in flight, but complete."""
    return planner_of(tiny_recipe, tiny_data, train_to_end(tiny_recipe, tiny_data))


@pytest.fixture
def gaussian():
    """Float64 standard normal numbers of a seed: gaussian(seed, *shape)."""

    def draw(seed: int, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=stream(seed, "tests"))

    return draw


@pytest.fixture(scope="session")
def source() -> Path:
    """The package's source folder."""
    return Path(__file__).resolve().parents[1] / "src" / "holdfast"


@pytest.fixture(autouse=True)
def whole_texts(monkeypatch):
    """Every picture that a test draws shows all of its text: no label is cut off at an edge."""
    save = Figure.savefig

    def checked(figure, *arguments, **options):
        result = save(figure, *arguments, **options)
        cut = cut_texts(figure, options.get("bbox_inches"))
        assert not cut, f"cut off at the edge of the picture: {cut}"
        return result

    monkeypatch.setattr(Figure, "savefig", checked)


@pytest.fixture(scope="session")
def browser() -> Generator[Browser]:
    """A browser in which to open pages; tests are skipped where none is installed."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def no_nohup() -> Generator[None]:
    """A hang-up ends a process, also where the tests run under `nohup`, whose children ignore it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
