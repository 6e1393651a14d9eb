"""Tenants from the command line."""

from __future__ import annotations

from tests.flask_understudy.cli.conftest import Typist


def test_tenant_is_listed_paused_resumed_and_limited(cli: Typist) -> None:
    cli.send(tenant="acme")
    cli.fail(tenant="acme")

    cli("tenants", "pause", "acme")
    cli("tenants", "limit", "acme", "2")

    [tenant] = cli("tenants", "--json").json["data"]
    assert (tenant["name"], tenant["concurrency"]) == ("acme", 2)
    assert tenant["pausedAt"] is not None
    assert (tenant["counts"]["waiting"], tenant["counts"]["failed"]) == (1, 1)
    assert "acme" in cli("tenants").out
    cli("tenants", "resume", "acme")
    cli("tenants", "limit", "acme", "none")
    [tenant] = cli("tenants", "--json").json["data"]
    assert (tenant["pausedAt"], tenant["concurrency"]) == (None, None)
    assert [a for a, _ in cli.audit()] == ["tenant.limit", "tenant.resume", "tenant.limit", "tenant.pause"]


def test_what_is_no_tenant_or_limit_is_refused(sqlite_cli: Typist) -> None:
    assert "printable" in sqlite_cli.fails("tenants", "pause", "a\nb", code=2)
    assert "No tenant 'acme' has jobs" in sqlite_cli.fails("tenants", "pause", "acme", code=4)
    assert "no whole number" in sqlite_cli.fails("tenants", "limit", "acme", "many", code=2)
    assert sqlite_cli("tenants").out.strip() == "No tenant has jobs."
