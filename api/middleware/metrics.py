"""Counts and times of requests, for Prometheus; one registry an app, so tests do not meet."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

BUCKETS_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

PARTNER_GAUGES = {
    "deliveries_pending": "Deliveries to partners that are due or wait for another try.",
    "oldest_delivery_seconds": "Since when the oldest of them is due.",
    "endpoints_disabled": "Endpoints of partners that are disabled.",
    "endpoints_failing": "Active endpoints whose last try failed.",
    "feed_behind_seconds": "Age of the oldest event that is not in the partners' feed yet.",
}


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "seathold_http_requests",
            "Requests answered, by the route's template.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "seathold_http_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ("method", "route"),
            registry=self.registry,
            buckets=BUCKETS_SECONDS,
        )
        self._partners: dict[str, Gauge] = {}
        self._lag = Gauge(
            "seathold_projection_lag_seconds",
            "Age of the oldest event that a projection does not have yet.",
            ("projection",),
            registry=self.registry,
        )
        self._streams = Gauge(
            "seathold_streams_open",
            "Readers who are told a show's seats as they change.",
            registry=self.registry,
        )
        # Looking a labelled child up costs more than counting, so each is looked up once.
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """``route`` is a template: paths as sent would grow without limit."""
        known = self._children.get((method, route, status))
        if known is None:
            known = (
                self._requests.labels(method, route, str(status)),
                self._seconds.labels(method, route),
            )
            self._children[method, route, status] = known
        known[0].inc()
        known[1].observe(seconds)

    def show_partners(self, told: Mapping[str, float]) -> None:
        """What waits to be told to partners, as the database has it at this moment."""
        for name, value in told.items():
            if name not in self._partners:
                self._partners[name] = Gauge(
                    f"seathold_partner_{name}", PARTNER_GAUGES[name], registry=self.registry
                )
            self._partners[name].set(value)

    def show_streams(self, number: int) -> None:
        self._streams.set(number)

    def show_lags(self, seconds: Mapping[str, float]) -> None:
        """By projection; what is not known now is not told."""
        self._lag.clear()
        for name, lag in seconds.items():
            self._lag.labels(name).set(lag)

    def counts(self) -> dict[tuple[str, str, str], int]:
        """Requests so far by method, route and status."""
        [family] = self._requests.collect()
        return {
            (sample.labels["method"], sample.labels["route"], sample.labels["status"]): int(
                sample.value
            )
            for sample in family.samples
            if sample.name.endswith("_total")
        }

    def exposition(self) -> bytes:
        return generate_latest(self.registry)
