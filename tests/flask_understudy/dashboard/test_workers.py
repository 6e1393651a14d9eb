"""The processes that run jobs: seeing them, letting one claim no more."""

from __future__ import annotations

from importlib.metadata import version

from flask_understudy.operations import workers as operations
from tests.flask_understudy.dashboard.conftest import PREFIX, Person, signed_in
from tests.flask_understudy.dashboard.test_pages import HOSTILE
from tests.flask_understudy.rest.conftest import Api


def audited(person: Person) -> list[tuple[str, str]]:
    lines = person.api.get("/audit")["data"]
    return [(line["action"], line["target"]) for line in reversed(lines)]


def lead(person: Person, worker_id: str, seconds: float) -> None:
    """Let the clock of a process lead for so long."""
    until = person.site.moment(seconds)
    person.site.execute(f"INSERT INTO understudy_leases (name, holder, until) VALUES ('clock', '{worker_id}', {until})")


def test_without_workers_it_says_how_to_start_one(operator: Person) -> None:
    assert "flask jobs worker" in operator.see("/workers")


def test_a_worker_is_seen_drained_and_resumed(operator: Person) -> None:
    process = operator.site.process()
    page = operator.see("/workers")
    assert "<strong>1</strong> process alive" in page and "0 of 1" in page and ">idle<" in page

    operator.press(page, "drain_worker")
    assert ">drained<" in operator.see("/workers")
    operator.press(operator.see("/workers"), "resume_worker")

    assert ">drained<" not in operator.see("/workers")
    assert audited(operator) == [("worker.drain", process.id), ("worker.resume", process.id)]


def test_who_runs_jobs_is_busy_and_who_died_is_gone(operator: Person) -> None:
    process = operator.site.process()
    operator.site.claim(process, operator.api.send("ada@example.com"))
    page = operator.see("/workers")
    assert ">busy<" in page and "<strong>1</strong> of 1 threads busy" in page

    operator.site.kill(process)

    page = operator.see("/workers")
    assert ">gone<" in page and "drain_worker" not in page


def test_what_a_process_runs_is_linked(operator: Person) -> None:
    process = operator.site.process()
    mine, theirs = operator.api.send("ada@example.com"), operator.api.send("bob@example.com", tenant="other")
    for job in (mine, theirs):
        operator.site.claim(process, job)

    page = operator.see("/workers")

    for job, tenant in ((mine, "acme"), (theirs, "other")):
        assert f'href="{PREFIX}/jobs/{job}">work</a>' in page and f"of {tenant}, " in page
    assert " MB</td>" in page and f"dramatiq {version('dramatiq')}" in page


def test_only_some_of_very_many_jobs_are_named(operator: Person) -> None:
    process = operator.site.process()
    for _ in range(operations.MOST_JOBS + 3):
        operator.site.claim(process, operator.api.send("ada@example.com"))
    page = operator.see("/workers")
    assert page.count('">work</a>') == operations.MOST_JOBS and "and 3 more" in page


def test_a_process_is_stopped_and_kept(operator: Person) -> None:
    process = operator.site.process()
    page = operator.press(operator.see("/workers"), "stop_worker", 200).text
    assert "those of the same command" in page and not process.leaving.is_set()
    operator.press(page, "stop_worker")

    page = operator.see("/workers")
    assert ">stopping<" in page and "stop_worker" not in page
    process.heartbeat.renew()
    assert process.leaving.is_set()

    operator.press(page, "resume_worker")
    process.heartbeat.renew()

    assert ">idle<" in operator.see("/workers") and not process.leaving.is_set()
    assert audited(operator) == [("worker.stop", process.id), ("worker.resume", process.id)]


def test_who_lives_in_a_web_process_is_not_stopped(operator: Person) -> None:
    process = operator.site.process("in-process")
    page = operator.see("/workers")
    assert "stop_worker" not in page and "drain_worker" in page
    form = {"csrf": operator.csrf(), "worker_id": process.id, "confirmed": "yes", "next": f"{PREFIX}/workers"}
    operator.send("/do/stop_worker", form)
    assert "lives inside a web process" in operator.see("/workers") and audited(operator) == []


def test_a_dead_process_is_forgotten(operator: Person) -> None:
    process = operator.site.process()
    assert "forget_worker" not in operator.see("/workers")
    operator.site.kill(process)

    operator.press(operator.see("/workers"), "forget_worker")

    assert "It is forgotten." in (page := operator.see("/workers")) and process.id[:8] not in page
    assert audited(operator) == [("worker.forget", process.id)]


def test_it_says_who_leads_the_clock(operator: Person) -> None:
    process, _ = operator.site.process(), operator.site.process()
    assert "No clock leads" in operator.see("/workers")

    lead(operator, process.id, 9)

    page = operator.see("/workers")
    assert page.count('<span class="tag">leads the clock</span>') == 1
    assert [worker["leadsClock"] for worker in operator.api.get("/workers")["data"]].count(True) == 1


def test_a_leader_whose_time_ran_out_leads_no_more(operator: Person) -> None:
    process = operator.site.process()
    lead(operator, process.id, -1)
    assert "No clock leads" in operator.see("/workers")


def test_hostile_names_are_shown_and_do_nothing(operator: Person) -> None:
    process = operator.site.process()
    name = HOSTILE.replace("'", "''")
    operator.site.execute(f"UPDATE understudy_workers SET hostname = '{name}' WHERE id = '{process.id}'")
    page = operator.see("/workers")
    assert "&lt;script&gt;" in page and "<script>alert" not in page and "<img src=x" not in page


def test_workers_are_for_who_may_see_every_tenant(api: Api) -> None:
    process, olga = api.site.process(), signed_in(api)
    assert "Workers" not in olga.see()
    olga.see("/workers", 403)
    for door in ("drain_worker", "stop_worker", "forget_worker"):
        olga.send(f"/do/{door}", {"csrf": olga.csrf(), "worker_id": process.id}, 403)
    assert api.as_(scopes="read tenants").get("/workers")["data"][0]["drainedAt"] is None


def test_who_only_looks_sees_no_buttons(api: Api) -> None:
    alive, dead = api.site.process(), api.site.process()
    api.site.kill(dead)
    rita = signed_in(api, "read tenants")
    page = rita.see("/workers")
    assert alive.id[:8] in page and "/do/" not in page
    for door in ("stop_worker", "forget_worker"):
        rita.send(f"/do/{door}", {"csrf": rita.csrf(), "worker_id": dead.id, "confirmed": "yes"}, 403)
