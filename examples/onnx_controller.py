"""A controller for a policy that `holdfast export` wrote: numpy and onnxruntime, neither PyTorch nor Holdfast.

    python onnx_controller.py FOLDER [SEED]

Each line of standard input is an observation, a JSON list; each line of standard output is the action for it. A line
`null` begins a new episode. In a program of your own: `action = controller.act(observation)`, once per control step.
"""

import json
import sys
from collections import deque
from pathlib import Path

import numpy as np
import onnxruntime


class Controller:
    """Receding-horizon execution of an exported policy."""

    def __init__(self, folder: str | Path, seed: int = 0) -> None:
        self.about = json.loads((Path(folder) / "manifest.json").read_text())
        if self.about["realtime"]:
            raise SystemExit(f"{folder} holds a guided plan; this controller needs an export without --realtime.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        file = str(Path(folder) / self.about["file"]["name"])
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.rng = np.random.default_rng(seed)
        self.reset()

    def reset(self) -> None:
        """Begin an episode."""
        self.window = deque(maxlen=self.about["n_obs_steps"])
        self.plans = []

    def act(self, observation: np.ndarray, state: np.ndarray | None = None) -> np.ndarray:
        """The action for an observation; `state` is the feedback state, by default the observed one."""
        seen = np.asarray(observation, dtype=np.float32)
        self.window.extend([seen] * (1 if self.window else self.window.maxlen))
        self.plans = [(plan, step + 1) for plan, step in self.plans if step + 1 < self.about["horizon"]]
        if not self.plans or self.plans[-1][1] >= self.about["n_action_steps"]:
            self.plans = [*(self.plans if self.about["ensemble"] else []), (self.plan(), 0)]
        x = seen[: self.about["inputs"][0]["n_state"]] if state is None else state
        actions = [self.law(plan, step, x) for plan, step in self.plans]
        limits = (self.about["limits"]["low"], self.about["limits"]["high"])
        action = np.average(actions, axis=0, weights=self.weights())
        return action if limits == (None, None) else np.clip(action, *limits)

    def plan(self) -> dict[str, np.ndarray]:
        """A composite action for the window of the last observations."""
        inputs = {"observation": np.stack(self.window)[None], **self.noise()}
        names = [output["name"] for output in self.about["outputs"]]
        return {name: values[0] for name, values in zip(names, self.session.run(names, inputs), strict=True)}

    def noise(self) -> dict[str, np.ndarray]:
        """Fresh random numbers for every noise input."""
        draw = {"normal": self.rng.standard_normal, "uniform": self.rng.random}
        inputs = self.about["inputs"][1:]
        return {
            one["name"]: draw[one["distribution"]["law"]](size=(1, *one["shape"][1:]), dtype=one["dtype"])
            for one in inputs
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


if __name__ == "__main__":
    controller = Controller(sys.argv[1], seed=int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    for line in sys.stdin:
        given = json.loads(line)
        if given is None:
            controller.reset()
        else:
            print(json.dumps(controller.act(given).tolist()), flush=True)
