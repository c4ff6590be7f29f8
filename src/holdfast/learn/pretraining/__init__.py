"""Pre-training of encoders on pictures without labels: `holdfast pretrain`.

recipe     everything that a pre-training depends on
frames     the pictures to train on, and those that are held out
updates    training as a generator of states, and the held-out loss
folder     what is written, and after which updates; `pretrain` trains with it
probe      what a linear function of the features knows of the recorded state
"""

from .fitting import pretrain
from .folder import check_pretraining, is_of_pretraining, load_pretraining
from .frames import PictureSet, picture_set
from .probe import Probe, probe_features
from .recipe import Pretraining, default_pretraining
from .updates import pretraining_model

__all__ = [
    "PictureSet",
    "Pretraining",
    "Probe",
    "check_pretraining",
    "default_pretraining",
    "is_of_pretraining",
    "load_pretraining",
    "picture_set",
    "pretrain",
    "pretraining_model",
    "probe_features",
]
