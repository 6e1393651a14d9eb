"""The processes that run jobs: seeing them, letting one claim no more."""

from __future__ import annotations

from tests.flask_understudy.dashboard.conftest import Person, signed_in
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
    olga.send("/do/drain_worker", {"csrf": olga.csrf(), "worker_id": process.id}, 403)
    assert api.as_(scopes="read tenants").get("/workers")["data"][0]["drainedAt"] is None
