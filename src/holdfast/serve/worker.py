"""One thread that plans, and the queue in front of it.

    sessions ──► queue, bounded ──► all that wait, as one batch ──► thread ──► replies

While one batch is planned, requests gather for the next: nothing waits for a batch to fill. The event loop stays free,
so that connections are kept alive meanwhile.
"""

import asyncio
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..errors import HoldfastError
from .metrics import Metrics
from .planning import Job, Planned, plan_all, rehearse
from .wire import BUSY


class BusyError(HoldfastError):
    """More requests wait than the server accepts."""


@dataclass
class _Waiting:
    job: Job
    reply: "asyncio.Future[Planned]"


class Worker:
    """Plans requests in one thread.

    Args:
        metrics: Counters of the server.
        most_waiting: Largest number of requests that wait; further ones are refused.
        most_together: Largest number of plans in one batch.
    """

    def __init__(self, metrics: Metrics, *, most_waiting: int, most_together: int) -> None:
        self.metrics = metrics
        self.most_waiting = most_waiting
        self.most_together = most_together
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="plans")
        self.waiting = deque[_Waiting]()
        self.arrived = asyncio.Event()
        self.rehearsed = False
        self.task = asyncio.create_task(self._run())

    async def plan(self, job: Job) -> Planned:
        """The plan of one request.

        Raises:
            BusyError: Too many requests wait.
            HoldfastError: There is no plan; the sentence says why.
        """
        if len(self.waiting) >= self.most_waiting:
            raise BusyError(
                f"{BUSY}: {len(self.waiting)} requests wait for a plan, and it keeps no more. Ask again in a moment, "
                "ask less often, or start another server."
            )
        waiting = _Waiting(job, asyncio.get_running_loop().create_future())
        self.waiting.append(waiting)
        self.arrived.set()
        return await waiting.reply

    async def close(self) -> None:
        """Stop after the batch that is being planned."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.thread.shutdown(wait=True, cancel_futures=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self.arrived.wait()
            batch = self._take()
            self.metrics.waiting = len(self.waiting)
            if batch:
                begun = time.perf_counter()
                found = await loop.run_in_executor(self.thread, self._plans, [one.job for one in batch])
                self.metrics.planning.add(time.perf_counter() - begun)
                self.metrics.sizes.add(len(batch))
                for one, planned in zip(batch, found, strict=True):
                    _answer(one, planned)

    def _plans(self, jobs: list[Job]) -> list[Planned | Exception]:
        """Plans, or errors in their place: an error must not end the only thread that plans."""
        try:
            found = plan_all(jobs)
        except Exception as error:
            return [error] * len(jobs)
        for job, planned in zip(jobs, found, strict=True):
            if not (self.rehearsed or job.request.aside or isinstance(planned, Exception)):
                self.rehearsed = True
                rehearse(job.session, planned)
        return found

    def _take(self) -> list[_Waiting]:
        """The requests of the next batch, without those whose client is gone."""
        batch = list[_Waiting]()
        while self.waiting and len(batch) < self.most_together:
            one = self.waiting.popleft()
            if not one.reply.done():
                batch.append(one)
        if not self.waiting:
            self.arrived.clear()
        return batch


def _answer(one: _Waiting, planned: Planned | Exception) -> None:
    if one.reply.done():
        return
    if isinstance(planned, Exception):
        one.reply.set_exception(planned)
    else:
        one.reply.set_result(planned)
