"""Diagnose a policy that is not Holdfast's: any function `observation → action`, in any gymnasium environment.

    python examples/diagnose_any_policy.py

Two laws swing up and balance a pendulum. Both reach the top; one damps there, the other does not. The score says that
one is better, the diagnosis says why.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

import holdfast as hf
from holdfast.analysis.diagnosis import judgement, verdict
from holdfast.analysis.diagnosis.page import write_diagnosis
from holdfast.envs import PlainPolicy
from holdfast.evaluation import fixed_starts


def swing_up(damping: float) -> Callable[[np.ndarray], np.ndarray]:
    """Energy shaping far from the top, a proportional-derivative law near it."""

    def act(observation: np.ndarray) -> np.ndarray:
        cosine, sine, speed = observation
        if cosine > 0.9:
            return np.array([-20 * sine - damping * speed])
        return np.array([np.sign(speed) * 2.0 if 0.5 * speed**2 + 15 * cosine < 15 else 0.0])

    return act


def main() -> None:
    """Examine both laws from the same starts; print the verdicts and write a page for each."""
    starts = fixed_starts("gym:Pendulum-v1", 16)
    folder = Path(mkdtemp(prefix="diagnosis-"))
    for name, damping in (("damped", 4.0), ("undamped", 0.0)):
        found = hf.diagnose(PlainPolicy(swing_up(damping)), starts, name=name)
        findings = verdict(found)
        print(f"{name}: {judgement(findings)}")
        for finding in findings:
            print(f"  {finding.tone:8} {finding.claim}")
        (folder / name).mkdir()
        print(f"  {write_diagnosis(folder / name, found)[-1]}")


if __name__ == "__main__":
    main()
