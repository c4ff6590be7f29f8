"""Policies that see pictures over the socket: both clients, windows, measurements, and what is refused in words."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from holdfast.data import Actions, Affine, Depth
from holdfast.errors import InterfaceWarning, ServerError
from holdfast.nn import SmallCnn, View, Vision
from holdfast.policy import Coordinates, Execution, Policy, PolicyInterface
from holdfast.policy.camera_interface import CameraInterface
from holdfast.policy.observed import as_observation, remembered
from holdfast.serve import Client
from holdfast.serve.seen import measured
from holdfast.types import Observation

openpi_client = pytest.importorskip("openpi_client.websocket_client_policy")

CNN = SmallCnn(channels=4, strides=(2, 2))
VIEWS = (
    View(camera="top", height=24, width=32, crop=(20, 28)),
    View(camera="wrist", height=40, width=60, resize=(20, 30), crop=(18, 26)),
)
DEEP = (
    View(camera="millimetres", height=24, width=32, channels=1, depth=(300.0, 1500.0)),
    View(camera="metres", height=24, width=32, channels=1, resize=(20, 28), depth=(0.3, 1.5)),
)
KEY = "observation.images."
COORDINATES = Coordinates(low=(-1.0,) * 3, high=(1.0,) * 3, names=("x", "y", "z"))


def pictured(make_planner, views=VIEWS, *, codec=None, readings="robot", **more):
    """A planner that sees pictures, in whose training data the first camera is redder than blue by 40 ± 2 bytes."""
    cameras = tuple(
        CameraInterface(name=view.camera, shape=view.shape, balance=40.0 * (view.camera == "top"), balance_std=2.0)
        for view in views
    )
    described = {
        "observation": COORDINATES,
        "state": COORDINATES,
        "action": Coordinates(low=(-1.0,) * 2, high=(1.0,) * 2),
    }
    interface = PolicyInterface(**described, n_robot=3, dt=0.1, episodes=9, cameras=cameras)
    options = {"n_obs_steps": 2, "execution": Execution(n_action_steps=3, sigma_features=0.05), **more}
    vision = Vision(views=views, encoder=CNN, readings=readings)
    return make_planner(codec or Actions(), sizes=(3, 2, 3), interface=interface, vision=vision, **options)


@pytest.fixture(scope="module")
def colours(make_planner):
    """Two cameras of bytes, two observations a window."""
    return pictured(make_planner)


def shown(step, views=VIEWS):
    """Pictures of a step as the cameras give them: bytes, or measurements of which some are missing."""
    found = {}
    for view in views:
        values = np.random.default_rng(step).random(view.shape)
        if view.depth is None:
            picture = 40 + 100 * values
            picture[..., 0] += 40  # redder than blue
            found[view.camera] = picture.astype(np.uint8)
        else:
            near, far = view.depth
            measured = near + (far - near) * values * (values > 0.2)
            kind = np.uint16 if far > 100 else np.float32
            found[view.camera] = np.where(values > 0.2, measured, 0).astype(kind)
    return found


def seen_at(step, views=VIEWS):
    state = 0.5 * np.sin(np.arange(3) + step)
    return {"observation.state": state, **{KEY + camera: picture for camera, picture in shown(step, views).items()}}


CASES = {
    "two cameras": {},
    "gains": {"codec": Affine()},
    "one observation": {"n_obs_steps": 1},
    "depth in millimetres and metres": {"views": DEEP},
    "colours and depth": {"views": (VIEWS[0], DEEP[0])},
}


@pytest.mark.parametrize("case", CASES)
def test_both_clients_act_as_the_policy(serving, make_planner, case):
    """`Client` executes the plans; openpi's client sends all observations since its last request, and gets the plan."""
    options = CASES[case]
    views, planner = options.get("views", VIEWS), pictured(make_planner, **options)
    alone, running = Policy(planner, seed=5), serving(Policy(planner), seed=5)
    with Client(running.url) as client:
        for step in range(5):
            found = client.select_action(seen_at(step, views))
            np.testing.assert_allclose(found, alone.select_action(seen_at(step, views)), atol=1e-5)
        aside = client.predict_action_chunk(seen_at(5, views))
        np.testing.assert_allclose(aside, alone.predict_action_chunk(seen_at(5, views)), atol=1e-5)
    other, alone = openpi_client.WebsocketClientPolicy("127.0.0.1", running.server.port), Policy(planner, seed=6)
    for first in (0, planner.spec.n_obs_steps):
        steps = [seen_at(step, views) for step in range(first, first + planner.spec.n_obs_steps)]
        message = {name.replace(".", "/"): np.stack([one[name] for one in steps]) for name in steps[0]}
        reply = other.infer(message)
        np.testing.assert_allclose(reply["actions"], plan_of(alone, steps), atol=1e-5)


def plan_of(policy, steps):
    """The policy's own plan after some observations, within its limits."""
    for one in steps:
        seen = as_observation(one, policy.spec, policy.interface).map(lambda values: values[None])
        policy.executor.observe(remembered(seen, policy.spec))
    return policy.executor.limit(policy.executor.plan().actions)[0].numpy()


def test_metadata_names_cameras_sizes_and_ranges(serving, make_planner, talk):
    planner = pictured(make_planner, (*VIEWS, *DEEP))
    with talk(serving(Policy(planner)).url) as ask:
        about = ask.metadata["observation"]
        # as they are recorded, not as they are resized
        assert about["images"]["wrist"] == [40, 60, 3]
        assert about["images"]["metres"] == [24, 32, 1]
        assert about["depth"] == {"millimetres": [300.0, 1500.0], "metres": [0.3, 1.5]}


@pytest.mark.parametrize("views", [VIEWS, DEEP], ids=["colours", "depth"])
def test_an_observation_of_holdfast_keeps_its_pictures(serving, make_planner, views):
    """In an `Observation`, measurements are bytes already; all of them are sent as what they stand for."""
    planner, step = pictured(make_planner, views, execution=Execution(n_action_steps=3)), seen_at(3, views)
    alone = Policy(planner, seed=0)
    images = {camera: torch.as_tensor(picture) for camera, picture in shown(3, views).items()}
    if views is DEEP:
        images = {view.camera: torch.arange(24 * 32).remainder(256).byte().view(24, 32, 1) for view in views}
    seen = Observation(state=torch.as_tensor(step["observation.state"]), images=images)
    with Client(serving(Policy(planner)).url) as client:
        np.testing.assert_allclose(client.select_action(seen), alone.select_action(seen), atol=1e-5)


def test_bytes_of_measurements_come_back():
    for near, far in ((300.0, 1500.0), (0.3, 1.5), (0.0, 1.0), (1e-3, 7e4)):
        levels = np.arange(256, dtype=np.uint8)
        assert np.array_equal(Depth(near, far).bytes_of(measured(levels, near, far)), levels)


def test_a_policy_of_pictures_alone_needs_no_readings(serving, make_planner):
    planner = pictured(make_planner, readings="none")
    alone = Policy(planner, seed=0)
    with Client(serving(Policy(planner)).url) as client:
        for step in range(4):
            given = {KEY + camera: picture for camera, picture in shown(step).items()}
            np.testing.assert_allclose(client.select_action(given), alone.select_action(given), atol=1e-5)
        with pytest.raises(ServerError, match=r"not trained on observation\.images\.third"):
            client.predict_action_chunk({**given, KEY + "third": given[KEY + "top"]})


def test_pictures_of_data_without_names_are_refused_beside_them(serving, make_planner):
    planner = pictured(make_planner, readings="none", codec=Affine())
    planner = replace(planner, interface=replace(planner.interface, observation=replace(COORDINATES, names=None)))
    given = {KEY + camera: picture for camera, picture in shown(0).items()}
    with Client(serving(Policy(planner)).url) as client:
        with pytest.raises(ServerError, match="feeds back a state of 3 numbers, but was given obs"):
            client.select_action(given)
        with pytest.raises(ServerError, match="not trained on time"):
            client.select_action({**given, "time": 1.0}, np.zeros(3))
        assert client.select_action(given, np.zeros(3)).shape == (2,)


TOP = shown(0)["top"]
BAD = {
    "missing": ({"top": None}, "no picture of camera 'top'"),
    "another size": ({"top": TOP[:20]}, r"of shape \[24, 32, 3\] .* got (\[1, )?\[?20, 32, 3\]\. Resize it"),
    "channels first": ({"top": np.moveaxis(TOP, -1, 0)}, r"got \[3, 24, 32\]\. Its channels come first: put them last"),
    "no channels": ({"top": TOP[..., 0]}, "Its channels are missing"),
    "fractions": (
        {"top": TOP / np.float32(255)},
        r"from 0\.\d+ to 0\.\d+\. If they are fractions .* multiply them by 255",
    ),
    "fractions in double precision": ({"top": TOP / 255.0}, "If they are fractions from 0 to 1"),
    "floats": ({"top": TOP.astype(np.float32)}, "got float32 numbers from 4.* Convert them to uint8"),
    "signed": ({"top": TOP.astype(np.int16)}, "got int16 numbers"),
    "text": ({"top": "a picture"}, "camera 'top'"),
    "a large picture": ({"top": np.zeros((480, 640, 3), np.uint8)}, r"\[24, 32, 3\].* got .*\[480, 640, 3\]"),
    "another camera": ({"left": TOP}, r"not trained on observation\.images\.left"),
}


@pytest.fixture(scope="module")
def camera_server(serving_all, colours):
    return serving_all(Policy(colours))


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("after", [0, 1, 3], ids=["first", "between plans", "at a plan"])
def test_other_pictures_are_refused(camera_server, name, after):
    """At the first observation, between two plans and at the next one; the episode goes on as if nothing was given.

    The sentence is that of the policy, or between plans one of the client's, which says the same of shapes and numbers.
    """
    changed, words = BAD[name]
    wrong = {key: value for key, value in altered(changed).items() if value is not None}
    with Client(camera_server.url) as client:
        seed = client.metadata["seed"]
        alone = Policy(camera_server.server.served.policy.planner, seed=seed)
        for step in range(after):
            np.testing.assert_allclose(
                client.select_action(seen_at(step)), alone.select_action(seen_at(step)), atol=1e-5
            )
        with pytest.raises(ServerError, match=BETWEEN.get(name, "observation.images.top") if after == 1 else words):
            client.select_action(wrong)
        for step in range(after, after + 4):
            np.testing.assert_allclose(
                client.select_action(seen_at(step)), alone.select_action(seen_at(step)), atol=1e-5
            )


BETWEEN = {
    "missing": r"expected observation\.images\.top, bytes \(uint8\) of shape \[24, 32, 3\], .* it is missing",
    "another size": r"\[24, 32, 3\], as in training, got uint8 of shape \[20, 32, 3\]",
    "fractions": r"got float32 of shape \[24, 32, 3\]",
    "another camera": r"not trained on observation\.images\.left",
}


def altered(changed):
    return {**seen_at(9), **{KEY + camera: value for camera, value in changed.items()}}


@pytest.mark.parametrize("name", [name for name in BAD if name != "a large picture"])
def test_openpi_clients_are_told_too(camera_server, name):
    changed, words = BAD[name]
    wrong = {key: value for key, value in altered(changed).items() if value is not None}
    other = openpi_client.WebsocketClientPolicy("127.0.0.1", camera_server.server.port)
    with pytest.raises(RuntimeError, match=words):
        other.infer(wrong)
    assert other.infer(seen_at(0))["actions"].shape == (8, 2)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((24, 32, 1), np.uint8), "expected measurements of camera 'metres' .* got bytes"),
        (np.full((24, 32), 900.0, np.float32), "above 900, but those of the training are from 0.3 to 1.5"),
        (np.zeros((12, 16), np.float32), r"of shape \[24, 32, 1\] or \[24, 32\].* got \[12, 16\]"),
    ],
)
def test_other_measurements_are_refused(serving, make_planner, picture, words):
    planner = pictured(make_planner, DEEP, n_obs_steps=1)
    with Client(serving(Policy(planner)).url) as client:
        client.select_action(seen_at(0, DEEP))
        with pytest.raises(ServerError, match=words):
            client.predict_action_chunk({**seen_at(1, DEEP), KEY + "metres": picture})
        # without an axis of channels, as most drivers give it
        flat = {**seen_at(1, DEEP), KEY + "metres": shown(1, DEEP)["metres"][..., 0]}
        same = client.predict_action_chunk(flat)
        np.testing.assert_allclose(same, client.predict_action_chunk(seen_at(1, DEEP)), atol=1e-5)


def test_reversed_colours_are_suspected(serving, colours):
    given = seen_at(0)
    with Client(serving(Policy(colours)).url) as client:
        with pytest.warns(InterfaceWarning, match=r"camera top .* \(BGR, as OpenCV reads them, instead of RGB\)"):
            client.select_action({**given, KEY + "top": given[KEY + "top"][..., ::-1]})
        client.reset()
        client.select_action(given)  # warnings are errors in tests
