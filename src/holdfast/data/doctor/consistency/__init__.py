"""Consistency within a data set: whether one robot, one recorder and one way of demonstrating explain all of it.

recording ──► one-step model of the robot, regression of the action on the observation
          ──► what they leave: over the episodes, at single rows, against the action, by episode column

steps       rows of the one-step model            habits      rows of the regression of the action
moments     fits on any subset of the episodes    changes     steps, trends, other responses over the episodes
exchanges   two columns that are exchanged        over_time   findings on changes
planes      two positions that velocities move    headings    their frame: drifting, or x and y exchanged
shapes      saturation                            stiction    coordinates at rest that small actions do not move
deadzone    small actions without effect          play        paths of commands and motors behind a gap
backlash    coordinates with play                 drifting    offsets of single coordinates over the episodes
manners     how each episode was demonstrated     operators   groups of episodes that differ in manner
transforms  what a transformed input explains
dropped     missing frames                        frozen      dead sensors
views       two cameras that are exchanged
styles      groups of demonstrations              outcomes    labels that the final states contradict
clusters    episodes at their goal, and others    crews       two clusters in several manners at once
"""

from collections.abc import Iterator, Sequence

from ....types import Episodes
from ..findings import DataFinding
from ..recording import Recording
from ..semantics import Meaning
from .dropped import check_dropped
from .frozen import Frozen, check_frozen, frozen_of
from .habits import habits_of
from .headings import check_headings, check_order
from .manners import manners_of
from .operators import check_manners, difference_of
from .outcomes import check_outcomes, contradiction_of
from .over_time import check_ends_over_time, check_habits_over_time, check_response_over_time
from .planes import planes_of
from .responses import check_responses
from .steps import steps_of
from .styles import check_styles, styles_of
from .views import check_views

__all__ = [
    "Frozen",
    "check_consistency",
    "check_frozen",
    "check_outcomes",
    "check_views",
    "contradiction_of",
    "frozen_of",
]

FEWER = 8000
"""Number of rows on which shapes of the response are searched, which takes the longest."""


def check_consistency(
    episodes: Episodes, recording: Recording, meant: Sequence[Meaning] = (), *, late: bool = False
) -> Iterator[DataFinding]:
    """Findings on the consistency of a recording without what other checks have condemned.

    Where the robot's response changes over the episodes, the regressions of the action are not judged, because the
    actions are answers to another robot, or to exchanged columns. Where observations are `late`, the response to an
    action is not in the next step, and is not judged either.
    """
    steps, habits, planes = steps_of(recording), habits_of(recording), planes_of(recording)
    changed = list(check_headings(planes)) or list(check_response_over_time(steps, habits))
    yield from changed
    if not any(finding.check == "exchanged" for finding in changed):
        yield from check_order(planes)
    gaps = list(check_dropped(steps))
    yield from gaps
    if not changed and not gaps and not late:
        fewer = steps_of(recording, FEWER)
        yield from check_responses(None if fewer is None else fewer.of(meant))
    if not changed:
        habitual = list(check_habits_over_time(habits)) or list(check_ends_over_time(recording))
        habitual = habitual or list(check_styles(styles_of(habits, episodes), episodes))
        yield from habitual
        # whoever has an offset or acts by another law is named already
        if habits is not None and not any(finding.check == "styles" for finding in habitual):
            manners = manners_of(habits, habits.moments())
            found = None if manners is None else difference_of(manners, episodes, habits.recording)
            yield from check_manners(found, manners, episodes, habits.recording)
