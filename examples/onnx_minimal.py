"""The shortest controller for a policy that `holdfast export` wrote: numpy and onnxruntime only.

    controller = Controller("DIR")               # the folder of `holdfast export RUN --out DIR`
    action = controller.act(observation)         # once per control step; `controller.reset()` begins an episode

`onnx_controller.py` also takes pictures, averages overlapping plans and compares the graph with its digest.
"""

import json
from collections import deque
from pathlib import Path

import numpy as np
import onnxruntime


class Controller:
    """Receding-horizon execution of an exported policy of numbers."""

    def __init__(self, folder: str, seed: int = 0) -> None:
        self.about = about = json.loads((Path(folder) / "manifest.json").read_text())
        more = about["realtime"] or about["ensemble"] or any("camera" in one for one in about["inputs"])
        if more or about["file"]["format"] != "onnx":
            raise ValueError(f"{folder} averages plans, sees pictures (use onnx_controller.py), is guided or no ONNX.")
        self.session = onnxruntime.InferenceSession(str(Path(folder) / about["file"]["name"]))
        self.rng = np.random.default_rng(seed)
        self.reset()

    def reset(self) -> None:
        """Begin an episode."""
        self.window = deque(maxlen=self.about["n_obs_steps"])
        self.step = self.about["n_action_steps"]

    def act(self, observation: np.ndarray) -> np.ndarray:
        """The action for an observation."""
        seen, size = np.array(observation, dtype=np.float32), self.about["inputs"][0]["shape"][-1]
        if seen.shape != (size,) or not np.isfinite(seen).all():
            raise ValueError(f"expected an observation of {size} finite numbers, got {seen.tolist()}.")
        self.window.extend([seen] * (1 if self.window else self.window.maxlen))
        if self.step >= self.about["n_action_steps"]:
            self.chunk, self.step = self.plan(), 0
        one = {name: values[0, self.step] for name, values in self.chunk.items()}  # of this step
        self.step += 1
        action = one["action"]
        if "gain" in one:  # u = ū + K (x − x̄)
            action = action + one["gain"] @ (seen[: len(one["state"])] - one["state"])
        low, high = self.about["limits"]["low"], self.about["limits"]["high"]
        return action if low is high is None else np.clip(action, low, high)

    def plan(self) -> dict[str, np.ndarray]:
        """A chunk for the window of the last observations."""
        found = self.session.run(None, {"observation": np.stack(self.window)[None], **self.noise()})
        return {output.name: values for output, values in zip(self.session.get_outputs(), found, strict=True)}

    def noise(self) -> dict[str, np.ndarray]:
        """Fresh random numbers for every noise input."""
        draw = {"normal": self.rng.standard_normal, "uniform": self.rng.random}
        drawn = [(one, draw[one["distribution"]["law"]]) for one in self.about["inputs"][1:]]
        return {one["name"]: law(size=(1, *one["shape"][1:]), dtype=one["dtype"]) for one, law in drawn}
