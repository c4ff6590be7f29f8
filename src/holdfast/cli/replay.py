"""`holdfast replay`: recorded episodes run again in their environment."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from jaxtyping import Bool, Int
from torch import Tensor

from ..atomic import resolved
from ..cores import usable_cores
from ..data import read
from ..envs import ENVIRONMENTS, Environment, make_environment, named_by_data
from ..errors import RecipeError
from ..evaluation import rate
from ..evaluation.replay import ByActions, recorded_states, replay_actions, replay_states
from ..report import write_result
from ..types import Episodes
from .console import console, name_files, results_folder, show_table
from .places import check_apart, default_folder
from .progress import stages
from .reading import ReadingOptions

_SHOWN = 12
_AT_ONCE = 64


@dataclass(frozen=True)
class Replay(ReadingOptions):
    """Run recorded episodes again in their environment.

    By states, the simulator is placed at each recorded state in turn; an episode succeeds if its task is solved at one
    of them, or by the action recorded there. By actions, the simulator begins at the first recorded state and executes
    the recorded actions; it is reported which share succeeds, and at which step each episode parts from its recording.
    If episodes succeed by states but not by actions, the dynamics differ (the simulator's version, the controller, the
    units of the actions), or they amplify small differences, as contact does: then the share by actions is no bound on
    that of a policy, which sees where it is.

    The set must hold the simulator's states. Sets of robosuite's tasks are first compared with robosuite here: a set
    whose observations do not follow from its states is refused, because a policy would see other numbers.
    """

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """Recorded episodes with the simulator's states."""
    environment: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Environment to replay them in. Default: the one recorded in the data."""
    by: tuple[Literal["states", "actions"], ...] = ("states", "actions")
    """Kinds of replay."""
    tolerance: float = 0.01
    """Difference of a coordinate, as a share of its range in the data, from which an episode has parted from its
    recording."""
    every_row: bool = False
    """For robosuite's tasks: compare the observations of every row, instead of about 200."""
    at_once: int | None = None
    """Number of episodes simulated at once. Default: one for each core with robosuite, else 64."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for result.json. Default: a folder in the current folder, whose name is the last part of DATA up to its
    first dot, followed by -replay, where earlier results are replaced even without --overwrite."""
    overwrite: bool = False
    """Replace existing results in the folder given as --out."""

    def run(self) -> None:
        """Replay, show the shares, write them."""
        started = time.perf_counter()
        if not self.by:
            raise RecipeError("expected states or actions for --by, got nothing.")
        out = self.out or default_folder(Path(), f"{resolved(self.data).name.split('.')[0]}-replay")
        check_apart(out, self.data)
        with results_folder(out, overwrite=self.overwrite or self.out is None, purpose="replaying into") as opened:
            episodes = read(self.data, selection=self.selection())
            values = self._replayed(episodes, self._name(episodes))
            with opened() as fresh:
                found = {**values, "data": str(self.data), "seconds": time.perf_counter() - started}
                written = write_result(fresh / "result.json", found)
        name_files(written, prepared=fresh, out=out)

    def _name(self, episodes: Episodes) -> str:
        if self.environment is not None:
            return self.environment
        if episodes.system is None:
            raise RecipeError(
                f"{self.data} names no environment. Give one with --environment: {', '.join(ENVIRONMENTS)}."
            )
        return named_by_data(episodes.system)

    def _replayed(self, episodes: Episodes, name: str) -> dict[str, Any]:
        """Everything that is measured."""
        count = min(len(episodes), self.at_once or (usable_cores() if name.startswith("robosuite:") else _AT_ONCE))
        environment = make_environment(name, count)
        total = int(episodes.lengths.sum())
        values: dict[str, Any] = {"environment": environment.name, "episodes": len(episodes), "steps": total}
        try:
            with stages() as stage:
                if name.startswith("robosuite:"):
                    values |= self._compared(episodes, environment, stage)
                states = recorded_states(episodes, environment, count=count)
                if "states" in self.by:
                    advance = stage("by states", total)
                    solved = replay_states(episodes, environment, states, count=count, progress=advance)
                    values["states"] = _shares(solved, environment)
                if "actions" in self.by:
                    advance = stage("by actions", total)
                    acted = replay_actions(
                        episodes, environment, states, count=count, tolerance=self.tolerance, progress=advance
                    )
                    values["actions"] = {**_shares(acted.solved, environment), **self._parted(acted, episodes)}
        finally:
            environment.close()
        self._show(values, episodes)
        return values

    def _compared(self, episodes: Episodes, environment: Environment, stage: Any) -> dict[str, Any]:
        """The comparison of a set of robosuite with the one installed here."""
        from ..envs.robosuite.environment import Robosuite
        from ..envs.robosuite.recorded import check_observations, differences, warn_of_versions

        assert isinstance(environment, Robosuite)
        warn_of_versions(episodes)
        found = check_observations(episodes, environment, every=self.every_row, progress=stage("observations", None))
        largest = dict(zip(found.names, map(float, found.largest), strict=True))
        compared = {"rows": found.rows, "largest_difference": max(largest.values()), "by_coordinate": largest}
        return {"observations": compared, "differences": differences(episodes)}

    def _parted(self, acted: ByActions, episodes: Episodes) -> dict[str, Any]:
        parts = acted.parted >= 0
        return {
            "tolerance": self.tolerance,
            "parted": rate(parts),
            "parted_at_step": acted.parted,
            "parted_in": list(acted.coordinate),
            "median_step": float(acted.parted[parts].double().median()) if bool(parts.any()) else None,
            "largest_deviation": acted.deviation,
            "clipped_steps": acted.clipped,
            "unexecuted_steps": acted.unexecuted,
            "lengths": episodes.lengths,
        }

    def _show(self, values: dict[str, Any], episodes: Episodes) -> None:
        """Shares as a table, and where the first episodes part."""
        rows = list[list[str]]()
        for kind in self.by:
            share = values[kind]["success"]
            shown = "not defined" if share is None else f"{share.mean:.3f} [{share.low:.3f}, {share.high:.3f}]"
            solved = values[kind]["solved"]
            rows.append([f"by {kind}", "–" if solved is None else f"{int(solved.sum())} of {len(episodes)}", shown])
        show_table(f"{values['environment']}, {len(episodes)} episodes", ["", "solved", "share"], rows)
        if (compared := values.get("observations")) is not None:
            console.say(
                f"observations of {compared['rows']:,} rows follow from their simulator states, the largest difference "
                f"is {compared['largest_difference']:.2g}"
            )
        if "actions" in values:
            self._say_parted(values["actions"], len(episodes))
            _say_unexecuted(values["actions"]["unexecuted_steps"], values["environment"])

    def _say_parted(self, acted: dict[str, Any], count: int) -> None:
        parted = [number for number, step in enumerate(acted["parted_at_step"].tolist()) if step >= 0]
        console.say(
            f"{len(parted)} of {count} episodes part from their recording by more than {self.tolerance:g} of a "
            "coordinate's range" + (f", in the median at step {acted['median_step']:g}" if parted else "")
        )
        for number in parted[:_SHOWN]:
            step, name = int(acted["parted_at_step"][number]), acted["parted_in"][number]
            console.say(f"episode {number}: step {step}, {name}", indent=2, style="dim")
        if len(parted) > _SHOWN:
            console.say(f"and {len(parted) - _SHOWN} others, in result.json", indent=2, style="dim")


def _say_unexecuted(steps: Int[Tensor, " e"], environment: str) -> None:
    """Say which recorded actions the environment's time limit left out, if it did."""
    if longer := int((steps > 0).sum()):
        console.say(
            f"{longer} of {len(steps)} episodes are longer than the time limit of {environment}: by actions, the last "
            f"steps were not executed ({int(steps.max())} of the longest)"
        )


def _shares(solved: Bool[Tensor, " e"] | None, environment: Environment) -> dict[str, Any]:
    """Share of solved episodes and the flag of each; `None` where the environment does not define success."""
    if solved is None:
        console.say(f"{environment.name} does not define success", style="dim")
        return {"success": None, "solved": None}
    return {"success": rate(solved), "solved": solved.to(torch.bool)}
