"""An actor that hears an event is an actor like any other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dramatiq
import pytest

from flask_understudy import Event, current_job
from flask_understudy.errors import ConfigError, InvalidJob
from flask_understudy.ledger.search import Filter
from flask_understudy.operations import bulk
from flask_understudy.operations import jobs as operations
from flask_understudy.redaction import redacted_arguments
from flask_understudy.signatures import check_payload, schema_of
from tests.flask_understudy.conftest import Site

ROOT = Path(__file__).parents[3]


class LeaveAsked(Event, sensitive=["reason"]):
    employee_id: int
    reason: str = "rest"
    password: str = ""


class Anything(Event, extra="allow"):
    id: int


def test_its_job_shows_the_fields_and_withholds_what_is_secret(sqlite_site: Site) -> None:
    @sqlite_site.jobs.on(LeaveAsked)
    def tell(event: LeaveAsked) -> None:
        """Tell the manager."""

    actor: Any = tell
    schema = schema_of(actor)
    assert (schema["required"], sorted(schema["properties"])) == (
        ["employee_id"],
        ["employee_id", "password", "reason"],
    )
    check_payload(actor, {"employee_id": 1})
    with pytest.raises(InvalidJob, match="employee_id"):
        check_payload(actor, {"employee_id": "x"})
    assert actor.options["description"] == "Tell the manager."
    _, shown = redacted_arguments(actor, (), {"employee_id": 7, "reason": "ill", "password": "x"})
    assert shown == {"employee_id": 7, "reason": "***", "password": "***"}


def test_its_job_is_found_by_the_fields_and_sent_again(site: Site) -> None:
    heard: list[LeaveAsked] = []

    @site.jobs.on(LeaveAsked)
    def tell(event: LeaveAsked) -> None:
        heard.append(event)

    published = site.jobs.publish(LeaveAsked(employee_id=7))
    site.jobs.publish(LeaveAsked(employee_id=8))

    [found] = bulk.sample(site.state, operations.EVERYTHING, Filter(payload=((("employee_id",), "7"),)))
    assert [found.id] == list(published.job_ids)
    again = operations.replay(site.state, found.id)
    assert site.job(again).event_id == published.id
    operations.amend(site.state, again, payload={"employee_id": 9})
    site.worker.run(again, raise_errors=True)
    assert heard == [LeaveAsked(employee_id=9)]


def test_it_can_be_called_and_sent_by_itself(site: Site) -> None:
    @site.jobs.on(LeaveAsked)
    def tell(event: LeaveAsked) -> str:
        return f"{event.employee_id} {current_job.id if event.reason == 'job' else ''}".strip()

    assert tell(LeaveAsked(employee_id=7)) == "7"
    message = tell.send(LeaveAsked(employee_id=8, reason="job"))
    assert site.worker.run(message).result == f"8 {message.message_id}"
    assert site.job(message).event_id is None
    wrong: Any = tell
    for args, kwargs in (((7,), {}), ((Anything(id=1),), {}), ((), {"colour": 1}), ((), {})):
        with pytest.raises(InvalidJob, match="LeaveAsked|employee_id|colour"):
            wrong.send(*args, **kwargs)
    assert len(site.all_jobs()) == 1


def test_an_async_function_hears(site: Site) -> None:
    @site.jobs.on(LeaveAsked)
    async def tell(event: LeaveAsked) -> int:
        return event.employee_id

    worker = site.start_worker()
    [id] = site.jobs.publish(LeaveAsked(employee_id=7)).job_ids

    assert site.eventually("completed", id).result == 7
    assert worker.kind == "in-process"


def test_fields_that_the_class_does_not_name_are_heard_when_it_allows_them(sqlite_site: Site) -> None:
    @sqlite_site.jobs.on(Anything)
    def tell(event: Anything) -> Any:
        return event.model_extra

    [id] = sqlite_site.jobs.send_event("anything", {"id": 1, "colour": "red"}).job_ids

    assert sqlite_site.worker.run(id, raise_errors=True).result == {"colour": "red"}


def test_a_name_is_taken_once(sqlite_site: Site) -> None:
    def tell(event: LeaveAsked) -> None: ...

    sqlite_site.jobs.on(LeaveAsked)(tell)
    with pytest.raises(ValueError, match="on:leave.asked:tell"):
        sqlite_site.jobs.on(LeaveAsked)(tell)

    other = sqlite_site.jobs.on(LeaveAsked, actor_name="leave:tell")(tell)
    assert other.actor_name == "leave:tell"


@pytest.mark.parametrize("event", [Event, object, "leave.asked", None, LeaveAsked(employee_id=1)])
def test_what_is_no_event_cannot_be_heard(sqlite_site: Site, event: Any) -> None:
    with pytest.raises(ConfigError, match="derived from Event"):
        sqlite_site.jobs.on(event)


@pytest.mark.parametrize("fn", [lambda: None, lambda one, two: None, lambda *, event: None, 7])
def test_what_does_not_take_one_event_cannot_hear_it(sqlite_site: Site, fn: Any) -> None:
    class Rung(Event): ...

    with pytest.raises(ConfigError, match="it takes a function of one event"):
        sqlite_site.jobs.on(Rung)(fn)


def test_a_declaration_that_cannot_be_is_refused(sqlite_site: Site) -> None:
    on: Any = sqlite_site.jobs.on
    with pytest.raises(ConfigError, match="'colour' is no option"):
        on(LeaveAsked, colour=1)
    with pytest.raises(ConfigError, match="where is 7"):
        on(LeaveAsked, where=7)
    with pytest.raises(ConfigError, match="queue_name"):
        on(LeaveAsked, queue_name="a b")

    @dramatiq.actor
    def already() -> None: ...

    with pytest.raises(ConfigError, match="is an actor already"):
        on(LeaveAsked)(already)


# -- types -------------------------------------------------------------------------------------------------------------

PROGRAM = """
from flask_understudy import Event, Understudy

jobs = Understudy()

class LeaveApproved(Event):
    employee_id: int

class Other(Event, name="other", version=2):
    id: str

@jobs.on(LeaveApproved, where=lambda event: event.employee_id > 0)
def tell(event: LeaveApproved) -> str:
    return str(event.employee_id)

@jobs.on(Other)
async def later(event: Other) -> None: ...

answer: str = tell(LeaveApproved(employee_id=7))
tell.send(LeaveApproved(employee_id=7))
jobs.publish(LeaveApproved(employee_id=7))
jobs.publish_many([LeaveApproved(employee_id=7), Other(id="x")])
"""

MISTAKES = {
    'jobs.publish({"employee_id": 7})': "arg-type",
    'jobs.publish(LeaveApproved(employee_id="seven"))': "arg-type",
    "jobs.publish(LeaveApproved())": "call-arg",
    'tell.send(Other(id="x"))': "arg-type",
    "tell.send(7)": "arg-type",
    "jobs.on(LeaveApproved, where=lambda event: event.employe_id > 0)": "attr-defined",
    "jobs.on(LeaveApproved)(later.fn)": "arg-type|call-overload",
    "jobs.on(LeaveApproved)(lambda event: event.employe_id)": "attr-defined",
    "jobs.on(int)": "type-var",
}


@pytest.mark.timeout(240)
@pytest.mark.requirement("B08", "B12", "V04")
def test_a_type_checker_knows_what_is_published_and_heard(tmp_path: Path) -> None:
    """One run for all: the good program has no error, and each mistake is found in its own line."""
    (tmp_path / "program.py").write_text(PROGRAM + "\n".join(MISTAKES) + "\n")

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file=", "program.py"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )

    first = PROGRAM.count("\n") + 1
    found: dict[int, str] = {}
    for line in done.stdout.splitlines():
        if error := re.fullmatch(r"program\.py:(\d+): error: (.*)", line):
            found[int(error[1])] = found.get(int(error[1]), "") + error[2]
    assert sorted(found) == [first + i for i in range(len(MISTAKES))], done.stdout + done.stderr
    for i, codes in enumerate(MISTAKES.values()):
        assert any(f"[{code}]" in found[first + i] for code in codes.split("|")), found[first + i]
