"""Diagnose a policy that was not trained with Holdfast: any function `observation → action`, in any environment.

    python examples/diagnose_any_policy.py

Two controllers swing up and balance a pendulum. Both reach the top; one damps the motion there, the other does not. The
scores show that one is better, and the diagnosis explains why.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

import holdfast as hf


def swing_up(damping: float) -> Callable[[np.ndarray], np.ndarray]:
    """Energy shaping far from the top, proportional-derivative control near it."""

    def act(observation: np.ndarray) -> np.ndarray:
        cosine, sine, speed = observation
        if cosine > 0.9:
            return np.array([-20 * sine - damping * speed])
        return np.array([np.sign(speed) * 2.0 if 0.5 * speed**2 + 15 * cosine < 15 else 0.0])

    return act


def main() -> None:
    """Diagnose both controllers from the same starts; print the verdicts and write a page for each."""
    folder = Path(mkdtemp(prefix="diagnosis-"))
    for name, damping in (("damped", 4.0), ("undamped", 0.0)):
        diagnosis = hf.diagnose(hf.PlainPolicy(swing_up(damping)), "gym:Pendulum-v1", name=name)
        findings = hf.verdict(diagnosis)
        print(f"{name}: {hf.judgement(findings)}")
        for finding in findings:
            print(f"  {finding.tone:8} {finding.claim}")
        print(f"  {hf.write_diagnosis(folder / name, diagnosis)[-1]}")


if __name__ == "__main__":
    main()
