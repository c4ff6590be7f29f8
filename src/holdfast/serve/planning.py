"""Plans for several sessions at once.

    session 1   window, stream ──┐                                  ┌─► plan 1
    session 2   window, stream ──┼─► noise ─► one batch of network  ┼─► plan 2
    session 3   window, stream ──┘            calls                 └─► plan 3

A session's plan is what the policy alone, loaded with the session's seed, would give, up to the order of sums in a
larger batch. For that, every session draws from its own stream (`seeding.Streams`). Families that draw other than
normal numbers, and plans that continue the previous one, are planned one session after another.
"""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import HoldfastError
from ..policy.finite import finite_controllers
from ..policy.mismatch import odd_first
from ..policy.observed import remembered
from ..seeding import Streams
from ..types import Observation, Prefix, PrimitiveControllers
from .continuing import Continues
from .requests import Request
from .served import Served


class Session:
    """One client's episode: its window of observations, its randomness and its last plan.

    A streaming policy also keeps its buffer.

    Args:
        served: What the server offers.
        seed: Random seed.
    """

    def __init__(self, served: Served, seed: int) -> None:
        self.served = served
        self.seed = seed
        self.executor = served.executor(seed)
        self.begins = True
        self.last: PrimitiveControllers | None = None

    def continued(self, request: Request) -> Request:
        """The request with the rest of the last plan as its prefix, where its plan is to continue that one."""
        if request.continues is None or request.reset or self.last is None:
            return request
        return replace(request, prefix=request.continues.prefix(self.served.policy.planner, self.last))

    def prepare(self, request: Request) -> list[str]:
        """Take the observations of a request; returns what is odd about the first one of an episode."""
        if request.reset:
            self.executor.reset(request.seed)
            self.begins, self.last = True, None
        odd = self._odd(request.steps[0])
        for step in request.steps:
            self.executor.observe(remembered(step, self.served.policy.spec))
        return odd

    def _odd(self, first: Observation) -> list[str]:
        """Differences between the first observation of an episode and the demonstrations."""
        interface = self.served.policy.interface
        if not self.begins or interface is None:
            return []
        self.begins = False
        vision = self.served.policy.spec.vision
        return [str(one) for one in odd_first(interface, vision, first, where="this session")]


@dataclass(frozen=True)
class Planned:
    """Plan of a session.

    Attributes:
        chunk: Composite action `[h]`.
        actions: Its reference actions `[h, m]` within the limits.
        action: Action `[m]` of the first step at the feedback state of the request, if it gave one.
        warnings: Sentences about the first observation of an episode.
    """

    chunk: PrimitiveControllers
    actions: Tensor
    action: Tensor | None
    warnings: list[str]


@dataclass(frozen=True)
class Job:
    """Request of one session."""

    session: Session
    request: Request


def plan_all(jobs: Sequence[Job]) -> list[Planned | Exception]:
    """One plan for each job of different sessions, or the reason why there is none.

    What concerns one session only, such as a plan that is not finite, does not concern the others.
    """
    served = jobs[0].session.served
    jobs = [replace(job, request=job.session.continued(job.request)) for job in jobs]
    groups = list[list[Job]]()
    for job in jobs:
        group = next((one for one in groups if served.together and _same_prefix(one[0], job)), None)
        groups.append([job]) if group is None else group.append(job)
    found = {id(job): planned for group in groups for job, planned in zip(group, _plan_group(group), strict=True)}
    return [found[id(job)] for job in jobs]


def rehearse(session: Session, planned: Planned) -> None:
    """Make plans that continue a session's first one in every way, and throw them away; the session stays as it was.

    The first such plan of a process takes many times as long as later ones, because PyTorch then sets up its
    differentiation. A robot that waits for its first plan has time for it, and one that moves has not.
    """
    planner, executor = session.served.policy.planner, session.executor
    before = executor.rng.get_state()
    for way in session.served.continuing:
        held = Continues(executed=0, delay=max(planner.prefix_delays, default=1), way=way)
        # an error would come again for whoever asks for such a plan, and be told there
        with suppress(Exception):
            executor.plans.plan(executor.seen(), rng=executor.rng, prefix=held.prefix(planner, planned.chunk))
        executor.rng.set_state(before)


def _same_prefix(one: Job, other: Job) -> bool:
    """Whether two requests hold the same steps in the same way: weights and Jacobian are those of a whole batch."""
    first, second = one.request.prefix, other.request.prefix
    if first is None or second is None:
        return first is second
    return first.jacobian == second.jacobian and torch.equal(first.weights, second.weights)


def _plan_group(jobs: Sequence[Job]) -> list[Planned | Exception]:
    with ExitStack() as stack:
        for job in jobs:
            if job.request.aside:
                stack.enter_context(job.session.executor.aside())
        warnings = [job.session.prepare(job.request) for job in jobs]
        found = _chunks(jobs)
        return [_planned(job, chunk, odd) for job, chunk, odd in zip(jobs, found, warnings, strict=True)]


def _chunks(jobs: Sequence[Job]) -> list[PrimitiveControllers | Exception]:
    """A chunk `[1, h]` for each job; where a batch fails, each is planned again by itself."""
    if len(jobs) == 1:
        return [_alone(jobs[0])]
    before = [job.session.executor.rng.get_state() for job in jobs]
    try:
        return [*_together(jobs)]
    # whatever it is, it may concern one session only
    except Exception:
        for job, state in zip(jobs, before, strict=True):
            job.session.executor.rng.set_state(state)
        return [_alone(job) for job in jobs]


def _alone(job: Job) -> PrimitiveControllers | Exception:
    executor = job.session.executor
    try:
        return executor.plans.plan(executor.seen(), rng=executor.rng, prefix=job.request.prefix)
    except Exception as error:
        return error


def _together(jobs: Sequence[Job]) -> list[PrimitiveControllers]:
    """Chunks `[1, h]` of one batch, in which every session draws its own random numbers."""
    smoothed = jobs[0].session.served.smoothed
    planner, executors = smoothed.planner, [job.session.executor for job in jobs]
    windows = [executor.seen() for executor in executors]
    inputs = [
        planner.model_input(smoothed.noised(window, rng=executor.rng))
        for window, executor in zip(windows, executors, strict=True)
    ]
    rng = Streams.of([executor.rng for executor in executors])
    code = planner.model.sample(Observation.concatenate(inputs), rng=rng, prefix=_joined(jobs))
    return [planner.controllers(code[index : index + 1], like=window.vector) for index, window in enumerate(windows)]


def _joined(jobs: Sequence[Job]) -> Prefix | None:
    prefixes = [job.request.prefix for job in jobs if job.request.prefix is not None]
    if not prefixes:
        return None
    return replace(prefixes[0], chunk=torch.cat([prefix.chunk for prefix in prefixes]))


def _planned(job: Job, chunk: PrimitiveControllers | Exception, warnings: list[str]) -> Planned | Exception:
    if isinstance(chunk, Exception):
        return chunk
    try:
        finite = finite_controllers(chunk)[0]
    except HoldfastError as error:
        return error
    if not job.request.aside:
        job.session.last = finite
    limit, state = job.session.executor.limit, job.request.state
    action = None if state is None else limit(finite.at(0)(state))
    return Planned(finite, limit(finite.actions), action, warnings)
