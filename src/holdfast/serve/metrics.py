"""Counters of a server in the text format of Prometheus."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper ends of the classes of times [s]."""
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Upper ends of the classes of batch sizes."""


class Histogram:
    """Numbers of observations up to each of some bounds, with their sum.

    >>> times = Histogram((0.1, 1.0))
    >>> times.add(0.1), times.add(3.0)
    (None, None)
    >>> list(times.lines("t"))
    ['t_bucket{le="0.1"} 1', 't_bucket{le="1.0"} 1', 't_bucket{le="+Inf"} 2', 't_sum 3.1', 't_count 2']
    """

    def __init__(self, bounds: Sequence[int | float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def add(self, value: int | float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str) -> Iterator[str]:
        """Lines of the text format."""
        below = 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            below += count
            yield f'{name}_bucket{{le="{bound}"}} {below}'
        yield f"{name}_sum {self.total:.9g}"
        yield f"{name}_count {below}"


@dataclass
class Metrics:
    """Counters of a server.

    Attributes:
        requests: Number of plans that were handed out.
        errors: Number of refusals and failures by kind.
        sessions: Number of open sessions.
        opened: Number of sessions since the start.
        waiting: Number of requests that wait for a plan.
        seconds: Times from a request to its reply [s].
        planning: Times of one batch of plans [s].
        sizes: Numbers of plans made together.
    """

    requests: int = 0
    errors: Counter[str] = field(default_factory=Counter[str])
    sessions: int = 0
    opened: int = 0
    waiting: int = 0
    seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    planning: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    sizes: Histogram = field(default_factory=lambda: Histogram(SIZES))

    def text(self) -> str:
        """All counters, one paragraph each."""
        parts = (
            ("requests_total", "counter", "Plans handed out.", [f"holdfast_requests_total {self.requests}"]),
            ("errors_total", "counter", "Requests and connections refused, by reason.", self._errors()),
            ("sessions", "gauge", "Open sessions.", [f"holdfast_sessions {self.sessions}"]),
            ("sessions_total", "counter", "Sessions opened.", [f"holdfast_sessions_total {self.opened}"]),
            ("waiting", "gauge", "Requests that wait for a plan.", [f"holdfast_waiting {self.waiting}"]),
            ("reply_seconds", "histogram", "Time from request to reply.", _lines(self.seconds, "reply_seconds")),
            ("plan_seconds", "histogram", "Time of one batch of plans.", _lines(self.planning, "plan_seconds")),
            ("batch_size", "histogram", "Plans made together.", _lines(self.sizes, "batch_size")),
        )
        about = "# HELP holdfast_{0} {2}\n# TYPE holdfast_{0} {1}\n{3}"
        return "".join(
            about.format(name, kind, text, "".join(f"{line}\n" for line in lines)) for name, kind, text, lines in parts
        )

    def _errors(self) -> list[str]:
        return [f'holdfast_errors_total{{reason="{kind}"}} {count}' for kind, count in sorted(self.errors.items())]


def _lines(histogram: Histogram, name: str) -> list[str]:
    return list(histogram.lines(f"holdfast_{name}"))
