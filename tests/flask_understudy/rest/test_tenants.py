"""Operators list tenants, hold them back and limit them; nobody else learns of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from flask_understudy.ledger import AuditLine
from tests.flask_understudy.rest.conftest import Api

pytestmark = pytest.mark.requirement("P04", "P01")

OPERATOR = "read operate admin tenants"


@pytest.fixture
def operator(api: Api) -> Api:
    return api.as_("house", "oscar", OPERATOR)


def audit(api: Api) -> list[tuple[Any, ...]]:
    with api.site.db_session() as session:
        lines = session.scalars(sa.select(AuditLine).order_by(AuditLine.id))
        return [(line.subject, line.action, line.target, line.detail) for line in lines]


def test_tenants_are_listed_by_name_with_their_counts(operator: Api) -> None:
    for tenant in ("birch", "acme", "acme"):
        operator.send("a@b.c", tenant=tenant)
    operator.fail(tenant="acme")
    operator.patch("/tenants/zebra", json={"concurrency": 7})
    operator.post("/tenants/zebra/pause")

    acme, birch, zebra = operator.get("/tenants")["data"]

    assert (acme["name"], acme["pausedAt"], acme["concurrency"]) == ("acme", None, None)
    assert acme["counts"] == {"delayed": 0, "waiting": 2, "active": 0, "completed": 0, "failed": 1, "cancelled": 0}
    assert (birch["name"], birch["counts"]["waiting"]) == ("birch", 1)
    assert (zebra["name"], zebra["counts"]["waiting"], zebra["pausedAt"][-1]) == ("zebra", 0, "Z")


def test_the_list_comes_in_pages(operator: Api) -> None:
    for tenant in "edcba":
        operator.send("a@b.c", tenant=tenant)
    names, cursor = [], None
    for _ in range(3):
        page = operator.get("/tenants", query_string={"limit": 2, **({"cursor": cursor} if cursor else {})})
        names += [tenant["name"] for tenant in page["data"]]
        cursor = page["nextCursor"]

    assert (names, cursor) == (list("abcde"), None)
    operator.get("/tenants?cursor=forged", 422)
    operator.get("/tenants?limit=0", 422)


def test_a_paused_tenant_waits_until_it_is_resumed(operator: Api) -> None:
    id = operator.send("a@b.c")
    assert operator.post("/tenants/acme/pause")["pausedAt"] is not None
    assert operator.site.worker.drain() == []

    assert operator.post("/tenants/acme/resume")["pausedAt"] is None
    assert [job.id for job in operator.site.worker.drain()] == [id]
    assert audit(operator) == [("oscar", "tenant.pause", "acme", None), ("oscar", "tenant.resume", "acme", None)]


def test_a_limit_is_set_and_lifted(operator: Api) -> None:
    assert operator.patch("/tenants/acme", json={"concurrency": 2})["concurrency"] == 2
    assert operator.get("/tenants/acme")["concurrency"] == 2
    assert operator.patch("/tenants/acme", json={"concurrency": None})["concurrency"] is None
    operator.get("/tenants/acme", 404)  # nothing is known of it any more
    assert audit(operator) == [
        ("oscar", "tenant.limit", "acme", {"concurrency": 2}),
        ("oscar", "tenant.limit", "acme", {"concurrency": None}),
    ]


@pytest.mark.parametrize("body", [{}, {"concurrency": 0}, {"concurrency": "many"}, {"concurrency": 1.5}, {"limit": 2}])
def test_what_is_no_limit_is_refused_and_nothing_written(operator: Api, body: Any) -> None:
    operator.patch("/tenants/acme", 422, json=body)

    assert (operator.get("/tenants")["data"], audit(operator)) == ([], [])


@pytest.mark.parametrize("name", ["a/b", "/acme", "acme/", "a//b", "pause", "acme/pause", "/", "../acme", "ü b?#%"])
def test_a_name_with_slashes_means_that_tenant_and_no_other(operator: Api, name: str) -> None:
    operator.send("a@b.c")
    path = "/tenants/" + quote(name, safe="")

    operator.get(path, 404)
    assert operator.patch(path, json={"concurrency": 2})["concurrency"] == 2
    assert operator.post(f"{path}/pause")["name"] == name
    assert (operator.get(path)["name"], operator.get(path)["pausedAt"] is None) == (name, False)
    assert operator.get("/tenants/acme")["pausedAt"] is None
    assert operator.post(f"{path}/resume")["pausedAt"] is None
    assert [target for _, _, target, _ in audit(operator)] == [name] * 3


@pytest.mark.parametrize("path", ["/tenants/" + "x" * 201, "/tenants/a%0Ab"])
def test_what_cannot_be_a_tenant_is_refused(operator: Api, path: str) -> None:
    operator.get(path, 404)
    operator.post(path + "/resume", 404)
    operator.post(path + "/pause", 404)
    operator.patch(path, 422, json={"concurrency": 1})
    assert audit(operator) == []


@pytest.mark.parametrize("name", ["acme", "%FF%FE"])
def test_a_tenant_that_nobody_knows_cannot_be_paused(operator: Api, name: str) -> None:
    operator.post(f"/tenants/{name}/pause", 404)

    assert (operator.get("/tenants")["data"], audit(operator)) == ([], [])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/tenants"),
        ("GET", "/tenants/acme"),
        ("PATCH", "/tenants/acme"),
        ("POST", "/tenants/acme/pause"),
        ("POST", "/tenants/acme/resume"),
    ],
)
def test_tenants_themselves_may_do_none_of_it(api: Api, method: str, path: str) -> None:
    api.send("a@b.c")
    body = {"json": {"concurrency": 1}} if method == "PATCH" else {}

    assert api(method, path, **body).status_code == 403
    assert api.anonymous()(method, path, **body).status_code == 401
    assert audit(api) == []
