"""Numbers for a monitor, in the format of Prometheus."""

from __future__ import annotations

from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from approval_resource.errors import ApprovalError
from approval_resource.model.claim import Claim
from approval_resource.model.event import State
from approval_resource.notify.run import STATES, Status

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
AGES = (("under an hour", 3_600.0), ("under a day", 86_400.0), ("older", float("inf")))


class Metrics:
    """Numbers of this process, and of the pools as it last saw them."""

    def __init__(self) -> None:
        """Begin at zero, with a registry of its own."""
        self._registry = CollectorRegistry()
        self.decisions = Counter("approval_reviews", "Reviews recorded", ["pool", "verdict", "state"], registry=self._registry)
        self.refusals = Counter("approval_refusals", "Refused tries", ["type"], registry=self._registry)
        self.store_errors = Counter("approval_store_errors", "Requests that the store failed", registry=self._registry)
        self.latency = Histogram(
            "approval_request_seconds", "Time to answer", ["route"], buckets=BUCKETS, registry=self._registry
        )
        self._oldest = Gauge(
            "approval_oldest_pending_seconds", "Age of the oldest pending claim", ["pool"], registry=self._registry
        )
        self._pending = Gauge("approval_pending", "Pending claims", ["pool"], registry=self._registry)
        self._holders = Gauge("approval_holders", "Claims that hold a lock, by age", ["pool", "age"], registry=self._registry)

        self._channels = Gauge(
            "approval_channel_state", "1 for the state that a channel is in", ["channel", "state"], registry=self._registry
        )
        self._behind = Gauge("approval_channel_behind", "Events it wasn't told of yet", ["channel"], registry=self._registry)
        self._skipped = Gauge("approval_channel_skipped", "Messages it refused for good", ["channel"], registry=self._registry)

    def heard(self, statuses: list[Status]) -> None:
        """Set the gauges of the channels."""
        for status in statuses:
            for state in STATES:
                self._channels.labels(status.channel, state).set(state == status.state)
            self._behind.labels(status.channel).set(status.behind)
            self._skipped.labels(status.channel).set(status.progress.skipped)

    def refused(self, error: ApprovalError, kind: str) -> None:
        """Count a refusal."""
        self.refusals.labels(kind).inc()
        if kind == "store-unavailable":
            self.store_errors.inc()

    def saw(self, pool: str, claims: list[Claim], now: datetime) -> None:
        """Set the gauges of a pool."""
        ages = [(now - claim.created_at).total_seconds() for claim in claims]
        pending = [age for claim, age in zip(claims, ages, strict=True) if claim.state is State.PENDING]
        self._pending.labels(pool).set(len(pending))
        self._oldest.labels(pool).set(max(pending, default=0))
        least = 0.0
        for name, most in AGES:
            self._holders.labels(pool, name).set(sum(least <= age < most for age in ages))
            least = most

    def text(self) -> bytes:
        """Return all numbers."""
        return generate_latest(self._registry)
