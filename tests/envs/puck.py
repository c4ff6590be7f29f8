"""A puck on a table that is pushed onto a red target: a MuJoCo environment with three cameras, one on the puck."""

import tempfile
from pathlib import Path
from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box, Dict

PUCK = "gym:tests.envs.puck:Puck-v0"

XML = """
<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <light pos="0 0 3" dir="0 0 -1"/>
    <geom name="table" type="plane" size="1 1 0.1" rgba="0.7 0.7 0.7 1" contype="0" conaffinity="0"/>
    <body name="target" mocap="true" pos="0 0 0.02">
      <geom type="cylinder" size="0.12 0.02" rgba="0.9 0 0 1" contype="0" conaffinity="0"/>
    </body>
    <body name="puck" pos="0 0 0.05">
      <joint name="x" type="slide" axis="1 0 0" damping="0.5"/>
      <joint name="y" type="slide" axis="0 1 0" damping="0.5"/>
      <geom type="cylinder" size="0.1 0.03" mass="1" rgba="0 0.2 0.9 1" contype="0" conaffinity="0"/>
      <camera name="onboard" pos="0 0 0.6" fovy="90"/>
    </body>
    <camera name="top" pos="0 0 2.4"/>
    <camera name="side" pos="0 -2.2 1.2" xyaxes="1 0 0 0 0.5 0.87"/>
  </worldbody>
  <default><motor gear="5" ctrllimited="true" ctrlrange="-1 1"/></default>
  <actuator><motor joint="x"/><motor joint="y"/></actuator>
</mujoco>
"""


class Puck(MujocoEnv):
    """Observes position, velocity and target; the force in each direction is the action."""

    metadata: ClassVar = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"], "render_fps": 20}

    def __init__(self, **options):
        space = Dict(agent_pos=Box(-np.inf, np.inf, (4,)), target=Box(-1, 1, (2,)))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "puck.xml"
            file.write_text(XML)
            super().__init__(str(file), 5, space, **options)

    def reset_model(self):
        self.data.mocap_pos[0, :2] = self.np_random.uniform(-0.8, 0.8, 2)
        self.set_state(self.np_random.uniform(-0.8, 0.8, 2), np.zeros(2))
        return self._get_obs()

    def step(self, action):
        self.do_simulation(action, self.frame_skip)
        away = float(np.linalg.norm(self.data.qpos - self.data.mocap_pos[0, :2]))
        return self._get_obs(), -away, False, False, {"success": away < 0.1}

    def _get_obs(self):
        own = np.concatenate([self.data.qpos, self.data.qvel])
        return {"agent_pos": own, "target": self.data.mocap_pos[0, :2].copy()}


def expert(observation):
    """A force towards the target, with damping."""
    x = np.asarray(observation)
    return np.clip(3 * (x[4:6] - x[:2]) - 2 * x[2:4], -1, 1)


gymnasium.register("Puck-v0", entry_point=Puck, max_episode_steps=20)
