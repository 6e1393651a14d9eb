"""Metrics for Prometheus (requirement M07; needs the extra `prometheus`).

They are read from the ledger when they are asked for, so every process of every machine tells the same, and nothing
is lost when one of them ends. Tenants are no labels: there may be too many, and they are nobody else's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flask import Blueprint, Flask, Response, request
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ..contrib.api import problems
from ..ledger import episodes, queries, rates
from ..operations import queues as queue_operations
from ..operations.thresholds import RULES
from ..state import State
from . import callers

NAME = "understudy_metrics"


class LedgerCollector(Collector):
    """Tells Prometheus what the ledger says.

    Args:
        state: The application's side of the library.
    """

    def __init__(self, state: State) -> None:
        self.state = state

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the ledger is not to be asked when an application starts."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Return all metrics as they are now."""
        yield from self._ended()
        yield from self._standing()
        yield from self._health()

    def _ended(self) -> Iterator[Metric]:
        labels = ["queue", "actor", "outcome"]
        ended = CounterMetricFamily(
            "understudy_attempts",
            "Attempts that ended, and jobs that were cancelled or expired, by outcome: completed, failed, retried, "
            "cancelled.",
            labels=labels,
        )
        ran = CounterMetricFamily("understudy_attempt_seconds", "How long these attempts ran.", labels=labels)
        waited = CounterMetricFamily(
            "understudy_wait_seconds", "How long these attempts had been due before they ran.", labels=labels
        )
        for row in rates.ever(self.state.database):
            values = [row.queue, row.actor, row.outcome]
            ended.add_metric(values, row.n)
            ran.add_metric(values, row.busy_ms / 1000)
            waited.add_metric(values, row.waited_ms / 1000)
        yield from (ended, ran, waited)

    def _standing(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("understudy_jobs", "Jobs in the ledger by state.", labels=["queue", "state"])
        for queue, numbers in queue_operations.stats(self.state).items():
            for name, n in numbers.items():
                if name != "total":
                    jobs.add_metric([queue, name], n)
        yield jobs
        oldest = GaugeMetricFamily(
            "understudy_oldest_waiting_seconds",
            "How long the job that waits longest has been due.",
            labels=["queue"],
        )
        waiting = queries.oldest_by_queue(self.state.database)
        for queue in sorted(queue_operations.names(self.state) | set(waiting)):
            oldest.add_metric([queue], waiting.get(queue, 0) / 1000)
        yield oldest

    def _health(self) -> Iterator[Metric]:
        database = self.state.database
        yield GaugeMetricFamily(
            "understudy_workers", "Processes that hold a lease and consume queues.", queries.workers_alive(database)
        )
        yield GaugeMetricFamily(
            "understudy_clock_lease_held", "Whether a clock leads.", int(queries.is_clock_leading(database))
        )
        yield GaugeMetricFamily(
            "understudy_broker_up", "Whether the broker answers.", int(self.state.transport.check())
        )
        alerts = GaugeMetricFamily("understudy_alerts_open", "Alerts that are open, by rule.", labels=["rule"])
        found = episodes.open_by_rule(database)
        for rule in RULES:
            alerts.add_metric([rule], found.get(rule, 0))
        yield alerts


def mount(app: Flask, state: State, path: str, *, public: bool) -> None:
    """Serve the metrics of an application.

    Args:
        app: The application.
        state: Its side of the library.
        path: Where, such as `/metrics`.
        public: Whether everybody may read them; else whoever the authoriser gives the scope `tenants`.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(LedgerCollector(state))
    blueprint = Blueprint(NAME, __name__)
    problems.init_app(blueprint)

    def show() -> Response:
        if not public:
            callers.require("tenants")
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(registry), content_type=content_type)

    blueprint.add_url_rule(path, "show", show, methods=["GET"])
    app.register_blueprint(blueprint)
