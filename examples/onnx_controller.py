"""A controller for a policy that `holdfast export` wrote: numpy and onnxruntime, neither PyTorch nor Holdfast.

    python onnx_controller.py FOLDER [SEED]

Each line of standard input is an observation, a JSON list; each line of standard output is the action for it. A line
`null` begins a new episode. In a program of your own: `action = controller.act(observation)`, once per control step.
For a policy that sees pictures, `controller.act(observation, images={"camera": picture})`, where each picture is a
uint8 array [height, width, channels] in the size that the manifest states as `shape`, resized as it states if it does.
"""

import hashlib
import json
import sys
from collections import deque
from pathlib import Path

import numpy as np
import onnxruntime


class Controller:
    """Receding-horizon execution of an exported policy."""

    def __init__(self, folder: str | Path, seed: int = 0) -> None:
        self.about = manifest_of(Path(folder))
        inputs = self.about["inputs"]
        self.cameras = {one["camera"]: one for one in inputs if "camera" in one}
        self.draws = [one for one in inputs if "distribution" in one]
        self.size = inputs[0]["shape"][-1]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        file = str(Path(folder) / self.about["file"]["name"])
        try:
            self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            needs = f"it was checked with {self.about['versions']['onnxruntime']}, and needs 1.14 or newer"
            raise SystemExit(f"onnxruntime {onnxruntime.__version__} cannot run {file}; {needs}: {error}") from error
        self.rng = np.random.default_rng(seed)
        self.reset()

    def reset(self) -> None:
        """Begin an episode."""
        self.window = deque(maxlen=self.about["n_obs_steps"])
        self.plans = []

    def act(self, observation: np.ndarray, state: np.ndarray | None = None, images: dict | None = None) -> np.ndarray:
        """The action for an observation; `state` is the feedback state, by default the observed one.

        Raises:
            ValueError: The observation has another size or is not finite, a picture is missing or has another shape, or
                the action would not be finite.
        """
        seen = self.seen(observation, images or {})
        self.window.extend([seen] * (1 if self.window else self.window.maxlen))
        self.plans = [(plan, step + 1) for plan, step in self.plans if step + 1 < self.about["horizon"]]
        if not self.plans or self.plans[-1][1] >= self.about["n_action_steps"]:
            self.plans = [*(self.plans if self.about["ensemble"] else []), (self.plan(), 0)]
        x = seen["observation"][: self.about["inputs"][0]["n_state"]] if state is None else np.asarray(state)
        actions = [self.law(plan, step, x) for plan, step in self.plans]
        limits = (self.about["limits"]["low"], self.about["limits"]["high"])
        action = np.average(actions, axis=0, weights=self.weights())
        if not np.isfinite(action).all():
            raise ValueError(f"the action would be {action.tolist()}; it was not handed out.")
        return action if limits == (None, None) else np.clip(action, *limits)

    def seen(self, observation: np.ndarray, images: dict) -> dict[str, np.ndarray]:
        """One step of the window: copies of the observation and of the pictures, by the names of the inputs."""
        numbers = np.array(observation, dtype=np.float32)
        if numbers.shape != (self.size,) or not np.isfinite(numbers).all():
            raise ValueError(f"expected an observation of {self.size} finite numbers, got {numbers.tolist()}.")
        if images.keys() != self.cameras.keys():
            raise ValueError(f"expected pictures of {sorted(self.cameras) or 'no camera'}, got {sorted(images)}.")
        seen = {"observation": numbers}
        for camera, one in self.cameras.items():
            picture, shape = np.array(images[camera]), tuple(one["shape"][2:])
            if picture.shape != shape or picture.dtype != np.uint8:
                raise ValueError(f"expected {camera} as uint8 {shape}, got {picture.dtype} {picture.shape}.")
            seen[one["name"]] = picture
        return seen

    def plan(self) -> dict[str, np.ndarray]:
        """A composite action for the window of the last observations."""
        window = {name: np.stack([seen[name] for seen in self.window])[None] for name in self.window[0]}
        names = [output["name"] for output in self.about["outputs"]]
        found = self.session.run(names, {**window, **self.noise()})
        return {name: values[0] for name, values in zip(names, found, strict=True)}

    def noise(self) -> dict[str, np.ndarray]:
        """Fresh random numbers for every noise input."""
        draw = {"normal": self.rng.standard_normal, "uniform": self.rng.random}
        return {
            one["name"]: draw[one["distribution"]["law"]](size=(1, *one["shape"][1:]), dtype=one["dtype"])
            for one in self.draws
        }

    def law(self, plan: dict[str, np.ndarray], step: int, x: np.ndarray) -> np.ndarray:
        """The primitive controller of a step at the current state."""
        action = plan["action"][step]
        return action + plan["gain"][step] @ (x - plan["state"][step]) if "gain" in plan else action

    def weights(self) -> np.ndarray:
        """Weights of the plans, oldest first, in temporal ensembling."""
        ensemble = self.about["ensemble"] or {"decay": 0.0, "newest_first": False}
        weights = np.exp(-ensemble["decay"] * np.arange(len(self.plans)))
        return weights[::-1] if ensemble["newest_first"] else weights


def manifest_of(folder: Path) -> dict:
    """The manifest of an exported policy, after a look whether its graph is what was written and can be run here."""
    if not (folder / "manifest.json").is_file():
        raise SystemExit(f"{folder} holds no manifest.json. Write a policy there with: holdfast export RUN --out DIR")
    try:
        about = json.loads((folder / "manifest.json").read_text())
        version = about["manifest_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{folder / 'manifest.json'} is not what was exported. Export the policy again.") from error
    if version != 1:
        raise SystemExit(f"{folder} has a manifest of version {version}; this controller reads version 1.")
    if about["realtime"]:
        raise SystemExit(f"{folder} holds a guided plan; this controller needs an export without --realtime.")
    if about["ensemble"] and about.get("rotations"):
        raise SystemExit(f"{folder} averages rotations in their group; this controller averages numbers.")
    if about["file"]["format"] != "onnx":
        raise SystemExit(f"{folder} holds {about['file']['name']}; this controller needs an export with --format onnx.")
    for name, digest in {about["file"]["name"]: about["file"]["sha256"], **about["file"].get("parts", {})}.items():
        if not (folder / name).is_file() or hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise SystemExit(f"{folder / name} is missing or is not what was exported. Export the policy again.")
    return about


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit("usage: python onnx_controller.py FOLDER [SEED]")
    controller = Controller(sys.argv[1], seed=int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    if controller.cameras:
        raise SystemExit("the policy sees pictures, which no line of text can hold. Call Controller.act instead.")
    for number, line in enumerate(sys.stdin, start=1):
        try:
            given = json.loads(line)
            if given is None:
                controller.reset()
            else:
                print(json.dumps(controller.act(given).tolist()), flush=True)
        except (ValueError, TypeError) as error:
            raise SystemExit(f"line {number}: {error}") from error
