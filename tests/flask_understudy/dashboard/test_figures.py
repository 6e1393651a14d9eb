"""Metrics: how each queue does, beside the time before."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from flask_understudy.dashboard.figures import sums_of
from flask_understudy.rest.metrics import StepMetrics
from tests.flask_understudy.dashboard.conftest import Person, signed_in
from tests.flask_understudy.rest.conftest import Api


def minute(completed: int, retried: int, failed: int, run_ms: float | None) -> StepMetrics:
    return StepMetrics(
        minute=datetime(2026, 1, 1, tzinfo=UTC),
        completed=completed,
        retried=retried,
        failed=failed,
        cancelled=0,
        average_duration_ms=run_ms,
        average_wait_ms=None,
    )


def test_averages_count_each_attempt_once() -> None:
    sums = sums_of([minute(1, 0, 1, 100), minute(3, 2, 0, 20), minute(0, 1, 0, None)])
    assert (sums.completed, sums.retried, sums.failed) == (4, 3, 1)
    assert (sums.run_ms, sums.wait_ms, sums.failure_rate) == (40, None, 0.5)
    assert sums_of([]).failure_rate is None


@pytest.mark.requirement("L02", "M07")
def test_it_shows_what_happened_in_all_queues_and_in_one(operator: Person) -> None:
    operator.api.fail("boom")
    done = operator.api.send("ada@example.com")
    operator.site.worker.run(done)

    page = operator.see("/metrics-ui")
    assert "50.0 %" in page and "<svg" in page and "The 1h before" in page
    assert "100.0 %" in operator.see("/metrics-ui?queue=reports&span=6h")
    for span in ("24h", "7d"):
        assert f"The {span} before" in operator.see(f"/metrics-ui?span={span}")
    assert "email, the last 1h" in operator.see("/metrics-ui?queue=email&span=nonsense")


@pytest.mark.requirement("M07")
def test_it_shows_what_each_type_did(operator: Person) -> None:
    operator.api.fail("boom")
    operator.site.worker.run(operator.api.send("ada@example.com"))

    page = operator.see("/metrics-ui")

    _, _, section = page.partition("Each type, the last 1h")
    rows = re.findall(r'<tr data-row>.*?>([a-z:]+)</a></th><td class="number">(\d+)</td>.*?([\d.]+) %', section)
    assert rows[:2] == [("broken", "0", "100.0"), ("work", "1", "0.0")]
    assert "Each type" in operator.see("/metrics-ui?queue=email")
    assert "broken" not in operator.see("/metrics-ui?queue=email").partition("Each type")[2].partition("Each queue")[0]


def test_an_empty_ledger_has_empty_charts(operator: Person) -> None:
    page = operator.see("/metrics-ui?span=24h")
    assert "Nothing in this time." in page and "Each type" not in page


def test_a_queue_that_is_not_there_is_refused(operator: Person) -> None:
    assert "No queue is named" in operator.see("/metrics-ui?queue=nowhere", 422)


def test_what_is_not_counted_by_tenant_is_not_told_to_one(api: Api) -> None:
    api.fail("boom")
    page = signed_in(api, tenant="birch").see("/metrics-ui")
    assert "<svg" not in page and "takes the scope <code>tenants</code>" in page and "Attempts a minute" not in page
