"""`holdfast export`: a policy as a graph, for robots without PyTorch."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..errors import RecipeError
from ..export import MANIFEST, export_policy
from ..export.guidance import check_guided
from ..policy import Policy
from ..policy.realtime import Delay, Guided, RealTime
from .console import console, name_files
from .places import check_apart


@dataclass(frozen=True)
class Export:
    """Write a trained policy as a graph and a manifest.

    The graph computes the actions from the observation window. It includes scaling, noise on the observation, the
    sampling loop and, for policies with gains, the reference states and gains. Its random numbers are inputs. It is
    compared with the policy on the same noise, in batches of 1, 3 and 7 windows (a guided plan in --batch windows), and
    written only if they agree within 1e-5 of each coordinate's magnitude. Not every family can be exported:
    docs/export.md lists those that can. examples/onnx_controller.py is a controller that needs numpy and onnxruntime
    only.
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder of a trained policy."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the graph, policy.onnx or policy.pt2, and manifest.json."""
    format: Literal["onnx", "torch"] = "onnx"
    """Format of the graph: ONNX, or a program of torch.export (torch)."""
    n_action_steps: int | None = None
    """Control steps that a controller executes before the next plan, for the manifest. Default: as in the recipe."""
    sigma_deploy: float | None = None
    """Standard deviation of the noise on observations at deployment, where observations are scaled to [-1, 1]; 0 omits
    it from the graph. Default: as in the recipe."""
    stream: bool | None = None
    """A policy of the family streaming whose recipe has stream = True is exported only with --stream False, and its
    plans then start from noise; a graph cannot continue the previous plan. Default: as in the
    recipe."""
    realtime: Literal["guided", "guided-no-jacobian"] | None = None
    """Export a plan that continues the running one: it has that plan and the weights of its steps as further inputs,
    and is guided toward it (real-time chunking), with gradients through the network (guided) or without
    (guided-no-jacobian). For the families diffusion, flow, shortcut and meanflow; a policy that was trained with
    --prefix-delays takes steps of weight 1 as clean first steps. Default: a plan by itself."""
    delay: int | None = None
    """With --realtime: inference delay in control steps for which the weights are compared; a controller may give the
    weights of any delay. Default: 0."""
    batch: int | None = None
    """With --realtime: number of robots that are planned for at once, which is fixed in a guided graph. Other graphs
    take any number. Default: 1."""
    overwrite: bool = False
    """Replace the policy that was exported to the folder before."""

    def run(self) -> None:
        """Trace, write, compare."""
        check_apart(self.out, self.run_folder, within=True)
        policy = self.policy()
        with console.status(f"writing {self.format}"):
            written = export_policy(
                policy,
                self.out,
                format=self.format,
                batch=self.batch or 1,
                run=self.run_folder,
                overwrite=self.overwrite,
            )
        console.say(f"inputs: {', '.join(written.inputs)}; outputs: {', '.join(written.outputs)}")
        console.say(f"compared with the policy on the same noise: largest relative difference {written.difference:.1g}")
        name_files(written.file, self.out / MANIFEST)

    def policy(self) -> Policy:
        """The policy of the run, executed as the options request."""
        policy = Policy.from_pretrained(self.run_folder)
        given = {"n_action_steps": self.n_action_steps, "sigma_deploy": self.sigma_deploy, "stream": self.stream}
        changes = {name: value for name, value in given.items() if value is not None}
        execution = replace(policy.spec.execution, **changes)
        if (realtime := self._realtime()) is not None:
            check_guided(policy)
        return Policy(policy.planner, execution=execution, realtime=realtime)

    def _realtime(self) -> RealTime | None:
        if self.realtime is not None:
            return RealTime(Delay(self.delay or 0), Guided(jacobian=self.realtime == "guided"))
        given = [f"--{name}" for name in ("delay", "batch") if getattr(self, name) is not None]
        if given:
            raise RecipeError(
                f"{' and '.join(given)} {'is' if len(given) == 1 else 'are'} for guided plans. Give --realtime guided "
                f"too, or remove {' and '.join(given)}."
            )
        return None
