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


def test_a_worker_that_is_not_there_is_not_found(sqlite_cli: Typist) -> None:
    for verb in ("drain", "resume", "stop", "forget"):
        assert "no worker 'nobody'" in sqlite_cli.fails("workers", verb, "nobody", code=4)
    assert sqlite_cli("audit", "--json").json["data"] == []


def test_a_worker_is_stopped_with_those_of_its_command(cli: Typist) -> None:
    worker, beside = cli.site.process(), cli.site.process()

    assert f"So do {beside.id}" in cli("workers", "stop", worker.id).out

    assert cli("workers").out.count("stopping") == 2
    worker.heartbeat.renew()
    assert worker.leaving.is_set()
    [line] = cli("audit", "--json").json["data"]
    assert (line["action"], line["target"], line["detail"]) == ("worker.stop", worker.id, {"others": [beside.id]})


def test_the_list_tells_memory_jobs_and_releases(cli: Typist) -> None:
    worker = cli.site.process()
    job = cli.send()
    cli.site.claim(worker, job)
    assert " MB " in cli("workers").out
    [shown] = cli("workers", "--json").json["data"]
    assert [one["id"] for one in shown["jobs"]] == [job]
    assert shown["memoryBytes"] > 0 and shown["versions"]["dramatiq"]


def test_only_a_dead_worker_without_jobs_is_forgotten(cli: Typist) -> None:
    worker = cli.site.process()
    assert "lives" in cli.fails("workers", "forget", worker.id, code=1)
    job = cli.send()
    cli.site.claim(worker, job)
    cli.site.kill(worker)
    assert "gone" in cli("workers").out and "has died" in cli.fails("workers", "stop", worker.id, code=1)
    assert "died with 1 job:" in cli.fails("workers", "forget", worker.id, code=1)
    cli.site.change(job, state="'waiting'", worker_id="NULL")

    cli("workers", "forget", worker.id)

    assert cli("workers", "--json").json["data"] == []
    assert [line["action"] for line in cli("audit", "--json").json["data"]] == ["worker.forget"]
