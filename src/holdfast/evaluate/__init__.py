"""Numbers with intervals."""

from .arena import Arena, BesideExpert, Flown, InEnvironment, make_arena
from .bounds import Bound, contractive_bound, regret_bound, tvc_bound
from .chunk_bounds import AffineLoop, theorem1_bound, theorem2_bound
from .closed_loop import Evaluation, evaluate
from .composite import composite_distances
from .continuity import Modulus, modulus
from .couplings import ImitationLosses, PairedRollouts, expert_floor, imitation_losses
from .environments import ENVIRONMENTS, FIRST_TEST_SEED, episode_steps, make_environment
from .growth import Growth, growth, growth_of
from .imitation_intervals import over_starts, population_intervals, relabelled
from .incremental import check_envelope, stability_region
from .intervals import Estimate, bootstrap, crossed, over_seeds, rate
from .loss_behavior import LossBehavior, loss_behavior, oscillation, rank_correlation
from .matching import total_variation, wasserstein
from .noised import noised_tv, smoothed_tv
from .novelty import Novelty, novelty
from .perturbed import padded, perturbed_growth
from .relaxed import binned_rtvc
from .replica import ReplicaCheck, replica_check
from .score import Comparison, compare, summary
from .seams import Seams, seams
from .sensitivity import Knob, Sweep, knobs_of, sweep
from .task_score import mode_entropy, scores_of, summarize
from .two_sample import TwoSample, two_sample

__all__ = [
    "ENVIRONMENTS",
    "FIRST_TEST_SEED",
    "AffineLoop",
    "Arena",
    "BesideExpert",
    "Bound",
    "Comparison",
    "Estimate",
    "Evaluation",
    "Flown",
    "Growth",
    "ImitationLosses",
    "InEnvironment",
    "Knob",
    "LossBehavior",
    "Modulus",
    "Novelty",
    "PairedRollouts",
    "ReplicaCheck",
    "Seams",
    "Sweep",
    "TwoSample",
    "binned_rtvc",
    "bootstrap",
    "check_envelope",
    "compare",
    "composite_distances",
    "contractive_bound",
    "crossed",
    "episode_steps",
    "evaluate",
    "expert_floor",
    "growth",
    "growth_of",
    "imitation_losses",
    "knobs_of",
    "loss_behavior",
    "make_arena",
    "make_environment",
    "mode_entropy",
    "modulus",
    "noised_tv",
    "novelty",
    "oscillation",
    "over_seeds",
    "over_starts",
    "padded",
    "perturbed_growth",
    "population_intervals",
    "rank_correlation",
    "rate",
    "regret_bound",
    "relabelled",
    "replica_check",
    "scores_of",
    "seams",
    "smoothed_tv",
    "stability_region",
    "summarize",
    "summary",
    "sweep",
    "theorem1_bound",
    "theorem2_bound",
    "total_variation",
    "tvc_bound",
    "two_sample",
    "wasserstein",
]
