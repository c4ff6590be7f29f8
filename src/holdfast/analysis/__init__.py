"""Diagnostics of closed loops: error growth, imitation losses, continuity, and the bounds of theorems."""

from .bounds import Bound, contractive_bound, regret_bound, tvc_bound
from .chunk_bounds import AffineLoop, theorem1_bound, theorem2_bound
from .chunk_seams import Seams, seams
from .composite import composite_distances
from .continuity import Modulus, modulus
from .couplings import ImitationLosses, PairedRollouts, expert_floor, imitation_losses
from .error_growth import Growth, growth, growth_of
from .imitation_intervals import bootstrap_over_starts, permutation_test, population_intervals
from .incremental import check_envelope, stability_region
from .loss_against_behavior import LossBehavior, loss_behavior, oscillation, rank_correlation
from .matching import total_variation, wasserstein
from .noised_distance import noised_tv, smoothed_tv
from .novelties import Novelty, novelty
from .perturbation import perturbed_growth
from .raw_units import in_raw_units
from .relaxed import binned_rtvc
from .replica import ReplicaCheck, replica_check
from .sensitivity import Setting, Sweep, settings_of, sweep
from .two_sample_test import TwoSample, two_sample

__all__ = [
    "AffineLoop",
    "Bound",
    "Growth",
    "ImitationLosses",
    "LossBehavior",
    "Modulus",
    "Novelty",
    "PairedRollouts",
    "ReplicaCheck",
    "Seams",
    "Setting",
    "Sweep",
    "TwoSample",
    "binned_rtvc",
    "bootstrap_over_starts",
    "check_envelope",
    "composite_distances",
    "contractive_bound",
    "expert_floor",
    "growth",
    "growth_of",
    "imitation_losses",
    "in_raw_units",
    "loss_behavior",
    "modulus",
    "noised_tv",
    "novelty",
    "oscillation",
    "permutation_test",
    "perturbed_growth",
    "population_intervals",
    "rank_correlation",
    "regret_bound",
    "replica_check",
    "seams",
    "settings_of",
    "smoothed_tv",
    "stability_region",
    "sweep",
    "theorem1_bound",
    "theorem2_bound",
    "total_variation",
    "tvc_bound",
    "two_sample",
    "wasserstein",
]
