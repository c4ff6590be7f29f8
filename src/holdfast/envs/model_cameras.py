"""Pictures of the cameras that a MuJoCo model names in its XML, wherever these are fixed: to the world or to a body.

Pictures show the state (qpos, qvel, mocap) at the time of the observation, which MuJoCo's own positions of geoms lag by
one physics step; they are computed in a copy, so that the simulation is the same with and without pictures. All
episodes share the textures and meshes of the first. There are no shadows: on a processor they take most of the time
(benchmarks/films.py). Depth is drawn by the same renderer (`drawn_depth`), also by the name `<camera>_depth`.
"""

import atexit
import importlib
import os
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8
from numpy import ndarray

from ..errors import RecipeError
from .drawn_depth import Asked, DrawnDepth, check_units, metric, size_of, source_of

BACKENDS = ("egl", "osmesa", "glfw")
"""MuJoCo's ways to draw; the first two need no screen."""
MOST_GEOMS = 10_000
Size = tuple[int, int]


class ModelCameras:
    """Cameras of equal MuJoCo simulators.

    Args:
        simulators: One for each episode, with `model` and `data`.
        asked: Pictures of each camera: height and width [px], or its depth.
        name: Name of the environment, for errors.

    Raises:
        RecipeError: The model has no such camera, or nothing can be drawn here.
    """

    def __init__(self, simulators: Sequence[Any], asked: Mapping[str, Asked], *, name: str) -> None:
        self._mujoco: Any = importlib.import_module("mujoco")  # here, because it is heavy, and an extra
        self._simulators, self.asked, self._name = simulators, dict(asked), name
        self.sizes = {camera: size_of(one) for camera, one in asked.items()}
        self._unchecked = {camera for camera, one in asked.items() if isinstance(one, DrawnDepth)}
        model = simulators[0].model
        known = names_of(model)
        sources = {camera: source_of(camera, one, known) for camera, one in asked.items()}
        check_cameras(model, [*sources.values()], name=name)
        self._cameras = {camera: self._fixed(model.camera(source).id) for camera, source in sources.items()}
        self._scratch: Any = self._mujoco.MjData(model)
        self._context, self._canvases = self._drawn_with(model)
        self._scene = self._mujoco.MjvScene(model, MOST_GEOMS)
        self._options = self._mujoco.MjvOption()
        self.close = weakref.finalize(self, _free, list(self._canvases.values()), self._context)
        # the last registered function runs first: before MuJoCo ends the display that the context belongs to
        atexit.register(self.close)

    def pictures(self, episodes: Sequence[int]) -> dict[str, UInt8[ndarray, "b height width channels"]]:
        """Pictures of the present states of some episodes, by camera.

        Raises:
            RecipeError: The first depth of a camera is far beyond its range.
        """
        self._context.make_current()
        found = {
            camera: np.empty((len(episodes), *size_of(asked), 1 if isinstance(asked, DrawnDepth) else 3), np.uint8)
            for camera, asked in self.asked.items()
        }
        for row, episode in enumerate(episodes):
            model, data = self._simulators[episode].model, self._placed(self._simulators[episode])
            for camera, asked in self.asked.items():
                if isinstance(asked, DrawnDepth):
                    found[camera][row, ..., 0] = self._depth(model, data, camera, asked)
                else:
                    self._draw(model, data, camera, asked, found[camera][row])
        return found

    def depth(self, episode: int, camera: str) -> Float64[ndarray, "height width"]:
        """Depth of a camera in the present state of an episode [m]; 0 where nothing is shown."""
        self._context.make_current()
        simulator, size = self._simulators[episode], self.sizes[camera]
        return self._metric(simulator.model, self._placed(simulator), camera, size)

    def _depth(self, model: Any, data: Any, camera: str, asked: DrawnDepth) -> UInt8[ndarray, "height width"]:
        depth = self._metric(model, data, camera, size_of(asked))
        # by the first picture: later, a camera on a hand may come closer to something than the data ever show
        if camera in self._unchecked and bool((depth > 0).any()):
            check_units(depth, asked, camera, where=self._name)
            self._unchecked.discard(camera)
        return asked.range.bytes_of(depth)

    def _metric(self, model: Any, data: Any, camera: str, size: Size) -> Float64[ndarray, "height width"]:
        canvas, window = self._canvases[True], np.empty(size, np.float32)
        part = self._rendered(model, data, camera, size, canvas)
        self._mujoco.mjr_readPixels(None, window, part, canvas)
        planes = (float(plane) * float(model.stat.extent) for plane in (model.vis.map.znear, model.vis.map.zfar))
        return metric(window[::-1], *planes)

    def _placed(self, simulator: Any) -> Any:
        """A copy of the simulator's data, whose geoms and cameras are where its state says."""
        mujoco, model, data = self._mujoco, simulator.model, self._scratch
        mujoco.mj_copyData(data, model, simulator.data)
        mujoco.mj_fwdPosition(model, data)
        return data

    def _draw(self, model: Any, data: Any, camera: str, size: Size, into: UInt8[ndarray, "height width 3"]) -> None:
        canvas = self._canvases[False]
        part = self._rendered(model, data, camera, size, canvas)
        self._mujoco.mjr_readPixels(into, None, part, canvas)
        into[:] = into[::-1].copy()  # OpenGL counts rows from below

    def _rendered(self, model: Any, data: Any, camera: str, size: Size, canvas: Any) -> Any:
        """Draw what a camera sees; returns the part of the canvas that holds it."""
        mujoco, seen = self._mujoco, self._mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(model, data, self._options, None, self._cameras[camera], seen, self._scene)
        part = mujoco.MjrRect(0, 0, size[1], size[0])
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, canvas)
        mujoco.mjr_render(part, self._scene, canvas)
        return part

    def _fixed(self, index: int) -> Any:
        camera = self._mujoco.MjvCamera()
        camera.type, camera.fixedcamid = self._mujoco.mjtCamera.mjCAMERA_FIXED, index
        return camera

    def _drawn_with(self, model: Any) -> tuple[Any, dict[bool, Any]]:
        """A drawing context, and the buffers in it for colours and for depth, which hold the largest picture."""
        height, width = (max(size[axis] for size in self.sizes.values()) for axis in (0, 1))
        context = _context_of(width, height)
        context.make_current()
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        model.vis.quality.shadowsize = 0
        samples = int(model.vis.quality.offsamples)
        canvases = dict[bool, Any]()
        for deep in sorted({isinstance(asked, DrawnDepth) for asked in self.asked.values()}):
            # of several samples, OpenGL hands out the depth of one, which is not that of the pixel's middle
            model.vis.quality.offsamples = 0 if deep else samples
            canvases[deep] = self._mujoco.MjrContext(model, self._mujoco.mjtFontScale.mjFONTSCALE_100)
            canvases[deep].readDepthMap = self._mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        model.vis.quality.offsamples = samples
        return context, canvases


def is_simulated(simulator: Any) -> bool:
    """Whether a simulator is MuJoCo's: it has its model and its data."""
    return all(type(getattr(simulator, part, None)).__module__.startswith("mujoco") for part in ("model", "data"))


def names_of(model: Any) -> list[str]:
    """Names of a model's cameras."""
    return [name for index in range(model.ncam) if (name := model.camera(index).name)]


def check_cameras(model: Any, cameras: Sequence[str], *, name: str) -> None:
    """Refuse cameras that a model does not have.

    Raises:
        RecipeError: There is none of this name.
    """
    known = names_of(model)
    missing = [camera for camera in cameras if camera not in known]
    if missing:
        raise RecipeError(
            f"the model of {name} has no camera {', '.join(missing)}; its cameras: {', '.join(known) or 'none'}. Add "
            '<camera name="…"/> to its XML, or choose one of these.'
        )


def _context_of(width: int, height: int) -> Any:
    """A context of the way that MUJOCO_GL names, else of the first that works.

    Raises:
        RecipeError: None does.
    """
    asked = os.environ.get("MUJOCO_GL", "").lower()
    errors = list[str]()
    for kind in (asked,) if asked else BACKENDS:
        try:
            return importlib.import_module(f"mujoco.{kind}").GLContext(width, height)
        except Exception as error:  # the drivers' libraries raise errors of many kinds
            errors.append(f"{kind}: {type(error).__name__}")
    raise RecipeError(
        f"pictures cannot be drawn here ({', '.join(errors)}). Install Mesa's EGL (libegl1) or OSMesa (libosmesa6), "
        "and set MUJOCO_GL to egl or osmesa."
    )


def _free(canvases: Sequence[Any], context: Any) -> None:
    """Release the drawing buffers; at the end of the program the libraries that would do it are gone."""
    context.make_current()
    for canvas in canvases:
        canvas.free()
    context.free()
