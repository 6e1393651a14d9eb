"""Queues over HTTP: the seeds' endpoints, and what operators do to a whole queue."""

from __future__ import annotations

import pytest

from tests.flask_understudy.rest.conftest import EVERY_SCOPE, Api

SEVEN = ["waiting", "active", "completed", "failed", "delayed", "paused", "total"]


def operator(api: Api) -> Api:
    return api.as_(scopes=f"{EVERY_SCOPE} tenants")


@pytest.mark.requirement("I08", "P04")
def test_stats_count_the_tenant_s_jobs_of_each_queue(api: Api) -> None:
    api.send("a"), api.send("b", delay=60_000), api.fail()
    api.send("x", tenant="other")
    api.site.worker.run(api.send("c"))

    stats = api.get("/stats")

    assert list(stats["email"]) == SEVEN
    assert stats["email"] == dict(zip(SEVEN, [1, 0, 1, 0, 1, 0, 3], strict=True))
    assert stats["reports"]["failed"] == 1
    assert operator(api).get("/stats")["email"]["total"] == 4


@pytest.mark.requirement("I09")
def test_a_queue_s_jobs_are_listed_by_status(api: Api) -> None:
    waiting, delayed, failed = api.send("a"), api.send("b", delay=60_000), api.fail()
    done, running = api.send("c"), api.send("d")
    api.site.worker.run(done)
    api.site.claim(api.site.process(), running)

    def listed(queue: str, status: str) -> list[str]:
        return [job["id"] for job in api.get(f"/{queue}/jobs?status={status}&limit=50")["jobs"]]

    assert listed("email", "waiting") == [waiting]
    assert listed("email", "active") == [running]
    assert listed("email", "completed") == [done]
    assert listed("email", "delayed") == [delayed]
    assert listed("reports", "failed") == [failed]
    assert len(api.get("/email/jobs")["jobs"]) == 4
    assert api.get("/email/jobs?count=true&status=waiting")["total"] == 1
    api.get("/email/jobs?status=gone", 422)
    api.get("/nowhere/jobs", 404)


@pytest.mark.requirement("I10", "I11", "I12", "P04")
def test_a_job_belongs_to_its_queue_and_tenant(api: Api) -> None:
    failed, theirs = api.fail(), api.send("x", tenant="other")

    assert api.get(f"/reports/jobs/{failed}")["state"] == "failed"
    for method, path in (("GET", ""), ("POST", "/retry"), ("DELETE", "")):
        assert api(method, f"/email/jobs/{failed}{path}").status_code == 404
        assert api(method, f"/email/jobs/{theirs}{path}").status_code == 404
    assert api.post(f"/reports/jobs/{failed}/retry")["state"] == "waiting"
    api.post(f"/reports/jobs/{failed}/retry", 409)
    api.delete(f"/reports/jobs/{failed}")


@pytest.mark.requirement("I13", "N05", "P04")
@pytest.mark.parametrize("path", ["/email/clean", "/queues/email/clean"])
def test_a_queue_is_cleaned_by_age_and_status(api: Api, path: str) -> None:
    old, young, theirs = api.send("a"), api.send("b"), api.send("c", tenant="other")
    for id in (old, young, theirs):
        api.site.worker.run(id)
    for id in (old, theirs):
        api.site.change(id, finished_at=api.site.moment(-7200))

    assert api.post(path, json={"grace": 3_600_000, "status": "completed"}) == {"removed": 1, "count": 1}
    assert {job.id for job in api.site.all_jobs()} == {young, theirs}
    assert api.post(path)["removed"] == 0  # what the queue keeps
    api.post(path, 422, json={"grace": -1})
    api.post(path, 422, json={"status": "waiting"})
    api.post("/nowhere/clean", 404)


def test_a_queue_is_paused_resumed_and_limited_by_who_sees_all_tenants(api: Api) -> None:
    api.send("a")
    api.post("/queues/email/pause", 403)

    assert operator(api).post("/queues/email/pause")["pausedAt"] is not None
    assert api.get("/stats")["email"]["paused"] == 1
    assert operator(api).post("/queues/email/resume")["pausedAt"] is None
    assert operator(api).patch("/queues/email", json={"concurrency": 3})["concurrency"] == 3
    assert operator(api).patch("/queues/email", json={"concurrency": None})["concurrency"] is None
    operator(api).patch("/queues/email", 422, json={"concurrency": 0})
    operator(api).post("/queues/nowhere/pause", 404)
    assert [queue["name"] for queue in api.get("/queues")["data"]] == ["email", "reports"]
    assert api.get("/queues/email")["counts"]["waiting"] == 1


@pytest.mark.requirement("O01")
def test_a_queue_is_drained_and_its_failed_jobs_are_retried(api: Api) -> None:
    api.send("a"), api.send("b", delay=60_000), api.send("x", tenant="other"), api.fail(), api.fail()

    assert api.post("/queues/email/drain") == {"cancelled": 1}
    assert api.post("/queues/email/drain", json={"delayed": True}) == {"cancelled": 1}
    assert api.post("/queues/reports/retry-failed") == {"retried": 2}
    assert operator(api).get("/stats")["email"]["waiting"] == 1


@pytest.mark.requirement("I10")
def test_a_job_is_described_alike_with_and_without_its_queue(api: Api) -> None:
    id = api.send("a")

    assert api.get(f"/email/jobs/{id}") == api.get(f"/{id}")
    shown = api("GET", f"/email/jobs/{id}")
    unchanged = api("GET", f"/email/jobs/{id}", headers={"If-None-Match": shown.headers["ETag"]})
    assert unchanged.status_code == 304


@pytest.mark.requirement("I12", "I11")
def test_what_is_done_through_the_queue_is_audited_with_the_job(api: Api) -> None:
    id = api.fail()

    api.post(f"/reports/jobs/{id}/retry")
    api.delete(f"/reports/jobs/{id}")

    lines = api.get("/audit")["data"]
    assert [(line["action"], line["target"]) for line in lines] == [("job.delete", id), ("job.retry", id)]
