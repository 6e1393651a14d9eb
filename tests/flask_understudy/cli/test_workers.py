"""Worker processes: which there are, and which are to claim no more."""

from __future__ import annotations

from tests.flask_understudy.cli.conftest import Typist


def test_a_drained_worker_is_shown_as_such_until_it_is_resumed(cli: Typist) -> None:
    worker = cli.site.process()
    assert "running" in cli("workers").out

    cli("workers", "drain", worker.id)

    assert "drained" in cli("workers").out
    [shown] = cli("workers", "--json").json["data"]
    assert shown["drainedAt"] is not None
    worker.heartbeat.renew()
    assert worker.drained.is_set()

    cli("workers", "resume", worker.id)

    worker.heartbeat.renew()
    assert not worker.drained.is_set()
    assert cli("workers", "--json").json["data"][0]["drainedAt"] is None
    actions = [line["action"] for line in cli("audit", "--json").json["data"]]
    assert actions == ["worker.resume", "worker.drain"]


def test_a_worker_that_is_not_there_cannot_be_drained_or_resumed(sqlite_cli: Typist) -> None:
    for verb in ("drain", "resume"):
        assert "no worker 'nobody'" in sqlite_cli.fails("workers", verb, "nobody", code=4)
    assert sqlite_cli("audit", "--json").json["data"] == []
