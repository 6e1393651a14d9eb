"""The figures of each report, held against what was counted by hand."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.extensions import db
from app.models.incident import Incident
from app.models.tenant import Tenant
from app.services.exports.checking import checked
from app.services.reports import types
from app.services.reports.filters import Filters
from app.services.reports.scope import Scope
from flask_understudy.contrib.api import Problem
from flask_understudy.contrib.exports import Report
from tests.app import march


@pytest.fixture
def ids(app: Flask, tenant_a: Tenant, tenant_b: Tenant) -> Iterator[dict[str, str]]:
    """The month of both organisations; what the first one calls its own."""
    with app.app_context():
        march.fill(tenant_b)
        yield march.fill(tenant_a)


def report(tenant: Tenant, type_: str, **filters: Any) -> Report:
    """Compose a report as of 15 April, on a connection that tells the time of Tokyo."""
    kind = types._KINDS[type_]
    chosen = checked(kind.filters, type_, march.MARCH | filters)
    with db.engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SET TIME ZONE 'Asia/Tokyo'"))
        scope = Scope(connection, tenant.id, chosen.bounded(march.TODAY), march.TODAY)
        parts = kind.parts
        made_at = dt.datetime(2026, 4, 15, tzinfo=dt.UTC)
        return Report(kind.title, "", made_at, parts.figures(scope), parts.charts(scope), parts.tables(scope))


def figures(report: Report) -> dict[str, tuple[object, str]]:
    return {figure.label: (figure.value, figure.note) for figure in report.figures}


def table(report: Report, title: str) -> list[tuple[object, ...]]:
    [found] = [table for table in report.tables if table.title == title]
    return [tuple(row) for row in found.rows]


@pytest.mark.requirement("A43")
def test_audits_are_counted(ids: dict[str, str], tenant_a: Tenant) -> None:
    audits = report(tenant_a, "audits")

    assert figures(audits) == {
        "Audits": (5, "2 in the 31 days before"),
        "Completed": (3, "60.0 %"),
        "Average score": (77.0, "70.0 in the 31 days before"),
        "Overdue": (1, "on 2026-04-15"),
    }
    assert table(audits, "By status") == [("Cancelled", 1, None), ("Completed", 3, 77.0), ("In Progress", 1, None)]
    assert table(audits, "By station") == [("Harbour", 3, 2, 1, 85.5), ("Quarry", 2, 1, 0, 60.0)]
    assert [row[1] for row in table(audits, "Audits")] == [f"Audit of 03-{n}" for n in ("31", "20", "10", "05", "02")]
    by_month, score = audits.charts
    assert (by_month.labels, score.labels) == (("2026-03",), ("2026-03",))
    assert by_month.series == {"Planned": (0,), "In Progress": (1,), "Completed": (3,), "Cancelled": (1,)}
    assert score.series == {"Score": (77.0,)}


@pytest.mark.requirement("A43")
def test_incidents_are_counted_by_days_in_utc(ids: dict[str, str], tenant_a: Tenant) -> None:
    incidents = report(tenant_a, "incidents")

    assert figures(incidents) == {
        "Incidents": (4, "1 in the 31 days before"),
        "Severe": (2, "1 in the 31 days before"),
        "Share of severe ones in %": (50.0, "high and critical"),
        "Stations concerned": (2, "1 in the 31 days before"),
    }
    assert table(incidents, "By severity") == [("critical", 1), ("high", 1), ("medium", 1), ("low", 1)]
    assert table(incidents, "By station") == [("Harbour", 2, 1), ("(no station)", 1, 0), ("Quarry", 1, 1)]
    [chart] = incidents.charts
    assert (chart.labels, set(chart.series.values())) == (("2026-03",), {(1.0,)})


@pytest.mark.requirement("A43")
def test_permits_are_counted(ids: dict[str, str], tenant_a: Tenant) -> None:
    permits = report(tenant_a, "work-permits")

    assert {label: value for label, (value, _) in figures(permits).items()} == {
        "Permits": 5,
        "Active": 2,
        "Overdue": 1,
        "Closed late": 1,
    }
    assert figures(permits)["Permits"][1] == "1 in the 31 days before"
    assert table(permits, "By status") == [("Active", 2), ("Closed", 2), ("Draft", 1)]
    assert table(permits, "By contractor") == [("Pumps", 2, 1, 1, 1), ("Spark", 3, 1, 0, 0)]
    assert table(permits, "By station") == [("Harbour", 2, 0, 0, 1), ("Quarry", 3, 2, 1, 0)]
    assert {row[0] for row in table(permits, "Permits")} == {"WP-1", "WP-2", "WP-3", "WP-4", "WP-5"}


@pytest.mark.requirement("A43")
def test_compliance_is_the_share_that_was_done_in_time(ids: dict[str, str], tenant_a: Tenant) -> None:
    compliance = report(tenant_a, "compliance")

    assert figures(compliance) == {
        "Compliance rate in %": (42.9, "66.7 in the 31 days before"),
        "Audits in time": (2, "of 4"),
        "Permits closed in time": (1, "of 3"),
        "Severe incidents": (2, "1 in the 31 days before"),
        "No valid certificate": (1, "contractors on 2026-04-15"),
    }
    assert table(compliance, "By station") == [("Harbour", 5, 2, 40.0, 1), ("Quarry", 2, 1, 50.0, 1)]
    assert [(str(row[0]), row[1], row[3]) for row in table(compliance, "Overdue")] == [
        ("2026-02-28", "Audit", "Harbour"),
        ("2026-03-20", "Audit", "Harbour"),
        ("2026-03-25", "Permit", "Quarry"),
        ("2026-04-01", "Audit", "Harbour"),
    ]
    assert [row[0] for row in table(compliance, "Contractors without a valid certificate")] == ["Pumps"]
    by_station, by_month = compliance.charts
    assert (by_station.labels, by_station.series) == (("Harbour", "Quarry"), {"%": (40.0, 50.0)})
    assert (by_month.labels, by_month.series) == (("2026-03",), {"%": (42.9,)})


@pytest.mark.requirement("A42")
@pytest.mark.parametrize(
    ("type_", "filters", "label", "expected"),
    [
        ("audits", {"status": "Completed"}, "Audits", 3),
        ("audits", {"stationId": "Quarry"}, "Audits", 2),
        ("audits", {"dateFrom": "2026-02-28"}, "Audits", 6),
        ("incidents", {"severity": "critical"}, "Incidents", 1),
        ("incidents", {"stationId": "Harbour"}, "Incidents", 2),
        ("work-permits", {"contractorId": "Pumps"}, "Permits", 2),
        ("work-permits", {"status": "Active", "stationId": "Quarry"}, "Permits", 2),
        ("compliance", {"stationId": "Harbour"}, "Compliance rate in %", 40.0),
    ],
)
def test_filters_narrow_what_is_counted(
    ids: dict[str, str], tenant_a: Tenant, type_: str, filters: dict[str, str], label: str, expected: float
) -> None:
    chosen = {name: ids.get(value, value) for name, value in filters.items()}

    assert figures(report(tenant_a, type_, **chosen))[label][0] == expected


@pytest.mark.parametrize("type_", ["audits", "incidents", "work-permits", "compliance"])
def test_a_report_on_nothing_has_no_averages(app: Flask, tenant_a: Tenant, type_: str) -> None:
    with app.app_context():
        empty = report(tenant_a, type_)

    assert {value for value, _ in figures(empty).values()} <= {0, None}
    read = json.loads(b"".join(empty.chunks("json")))
    assert {figure["value"] for figure in read["figures"]} == ({0} if type_ == "work-permits" else {0, None})


def test_a_report_on_one_day_is_compared_with_the_day_before(ids: dict[str, str], tenant_a: Tenant) -> None:
    day = report(tenant_a, "incidents", dateFrom="2026-03-15", dateTo="2026-03-15")

    assert figures(day)["Incidents"] == (1, "0 in the day before")


def test_without_days_a_report_is_on_the_last_year() -> None:
    chosen = Filters().bounded(march.TODAY)
    assert (str(chosen.date_from), str(chosen.date_to)) == ("2025-04-16", "2026-04-15")

    later = Filters(date_from=dt.date(2026, 6, 1)).bounded(march.TODAY)
    assert (later.date_from, later.date_to) == (later.date_from, later.date_from)


@pytest.mark.parametrize(
    ("filters", "pointer", "said"),
    [
        ({"color": "red"}, "/filters/color", "dateFrom, dateTo, stationId, status"),
        ({"status": "Done"}, "/filters/status", "Completed"),
        ({"dateFrom": "yesterday"}, "/filters/dateFrom", "2026-01-31"),
        ({"dateFrom": "2026-02-30"}, "/filters/dateFrom", "2026-01-31"),
        ({"dateFrom": 1}, "/filters/dateFrom", "2026-01-31"),
        ({"dateTo": "0001-01-01"}, "/filters/dateTo", "1900 to 2999"),
        ({"dateTo": "9999-12-31"}, "/filters/dateTo", "1900 to 2999"),
        ({"dateFrom": "2026-02-01", "dateTo": "2026-01-01"}, "/filters", "from dateFrom on"),
        ({"dateFrom": "1990-02-01", "dateTo": "2026-01-01"}, "/filters", "ten years"),
        (["status"], "/filters", "names with values"),
    ],
)
def test_a_wrong_filter_is_named(filters: Any, pointer: str, said: str) -> None:
    with pytest.raises(Problem) as refusal:
        checked(types._KINDS["audits"].filters, "the report audits", filters)

    [error] = refusal.value.errors
    assert (error["pointer"], said in error["detail"]) == (pointer, True), error


@pytest.mark.requirement("A43")
def test_severe_incidents_at_no_station_stand_in_the_table_of_compliance(ids: dict[str, str], tenant_a: Tenant) -> None:
    incident = db.session.scalars(sa.select(Incident).filter_by(tenant_id=tenant_a.id, station_id=None)).one()
    incident.severity = "critical"
    db.session.commit()

    whole, harbour = report(tenant_a, "compliance"), report(tenant_a, "compliance", stationId=ids["Harbour"])

    by_station = table(whole, "By station")
    assert by_station[-1] == ("(no station)", 0, 0, None, 1)
    assert sum(int(str(row[-1])) for row in by_station) == figures(whole)["Severe incidents"][0] == 3
    assert [row[0] for row in table(harbour, "By station")] == ["Harbour"]
