"""Jobs driven over HTTP."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from werkzeug.test import TestResponse

from flask_understudy import Event
from flask_understudy.contrib.webhooks.signing import sign
from flask_understudy.invoking import Invoker, Order
from tests.flask_understudy.conftest import MakeSite, Site

KEY = "the key that both sides have"
PATHS = ["/api/jobs/invoke", "/api/inngest"]


class CarParked(Event):
    place: int


class Host:
    """A serverless host: it calls the address of a site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.done: list[Any] = []

        @site.jobs.actor(queue_name="email", actor_name="work")
        def work(n: int = 0) -> int:
            """Do some work."""
            self.done.append(n)
            return n

        @site.jobs.actor(actor_name="slow", max_retries=0)
        def slow(seconds: float) -> None:
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                time.sleep(0.01)

        @site.jobs.actor(actor_name="broken", max_retries=1, min_backoff=0, jitter=0)
        def broken() -> None:
            raise ValueError("boom")

        self.work, self.slow, self.broken = work, slow, broken

    def call(self, body: Any = None, *, method: str = "POST", path: str = PATHS[0], key: str = KEY) -> TestResponse:
        """Send a signed request."""
        raw = b"" if body is None else json.dumps(body).encode()
        stamp = str(int(time.time()))
        headers = {"X-Webhook-Timestamp": stamp, "X-Webhook-Signature": sign(key, stamp, raw)}
        return self.send(raw, headers, method=method, path=path)

    def send(self, raw: bytes, headers: dict[str, str], *, method: str = "POST", path: str = PATHS[0]) -> TestResponse:
        client = self.site.app.test_client()
        return client.open(path, method=method, data=raw, headers=headers, content_type="application/json")

    def run(self, body: Any = None) -> list[tuple[str, str]]:
        """Invoke; return type and state of what was run."""
        answer = self.call(body)
        assert answer.status_code == 200, answer.text
        return [(job["type"], job["state"]) for job in answer.json["data"]]

    def workers(self) -> int:
        with self.site.state.database.statement() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM understudy_workers").scalar_one())


@pytest.fixture
def host(make_site: MakeSite, ledger_url: str) -> Host:
    return Host(make_site(ledger_url, UNDERSTUDY_SIGNING_KEY=KEY))


@pytest.fixture
def sqlite_host(make_site: MakeSite, sqlite_ledger: str) -> Host:
    return Host(make_site(sqlite_ledger, UNDERSTUDY_SIGNING_KEY=KEY))


# -- running -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("G15", "I01", "R04")
def test_what_is_due_is_run_and_nothing_is_left_behind(host: Host) -> None:
    messages = [host.work.send(n) for n in range(3)]
    later = host.work.send_with_options(args=(9,), delay=3_600_000)

    assert host.run() == [("work", "completed")] * 3

    assert sorted(host.done) == [0, 1, 2]
    assert [host.site.job(message).result for message in messages] == [0, 1, 2]
    assert host.site.job(later).state == "delayed"
    assert host.workers() == 0
    assert host.run() == []


def test_the_job_that_is_named_is_run_and_no_other(host: Host) -> None:
    first, second = host.work.send(1), host.work.send(2)

    assert host.run({"jobId": second.message_id}) == [("work", "completed")]
    assert host.run({"jobId": second.message_id}) == []

    assert host.done == [2]
    assert host.site.job(first).state == "waiting"
    assert host.call({"jobId": "nobody"}).status_code == 404


def test_only_the_queue_that_is_named_is_looked_at(host: Host) -> None:
    host.work.send(1)
    host.broken.send()

    assert host.run({"queue": "email"}) == [("work", "completed")]
    assert host.call({"queue": "nothing"}).status_code == 422


def test_no_more_are_run_than_asked_for_and_no_queue_starves(host: Host) -> None:
    for n in range(5):
        host.work.send(n)
    host.broken.send()

    assert sorted(name for name, _ in host.run({"max": 2})) == ["broken", "work"]
    assert len(host.run({"max": 4})) == 4


def test_a_job_that_fails_is_retried_by_a_later_request(host: Host) -> None:
    host.broken.send()

    states = [state for _ in range(2) for _, state in host.run({"queue": "default", "max": 1})]

    assert states == ["waiting", "failed"]
    [job] = host.site.all_jobs()
    assert (job.attempt, job.error) == (2, "ValueError: boom")


def test_the_clock_s_turns_are_taken(host: Host) -> None:
    """What is due by now was delayed before, and what has expired is failed."""
    delayed = host.work.send_with_options(args=(1,), delay=3_600_000)
    expired = host.work.send(2)
    host.site.change(delayed, run_at=host.site.moment(-1))
    host.site.change(expired, expires_at=host.site.moment(-1))

    assert host.run() == [("work", "completed")]

    assert host.site.job(delayed).state == "completed"
    assert host.site.job(expired).state == "failed"


def test_a_dead_invocation_s_job_is_taken_back(make_site: MakeSite, ledger_url: str) -> None:
    host = Host(make_site(ledger_url, UNDERSTUDY_SIGNING_KEY=KEY, UNDERSTUDY_RESCUE_GRACE_SECONDS=600))
    message = host.work.send(1)
    dead = host.site.process("web")
    assert host.site.claim(dead, message) is not None
    host.site.kill(dead)
    assert host.run() == []  # the database has not answered for long enough to call anybody dead
    host.site.app.extensions["understudy_invoker"]._healthy_since -= 600  # ten minutes go by

    host.run()
    host.site.execute(f"UPDATE understudy_jobs SET run_at = {host.site.moment(-1)}")
    host.run()

    assert host.site.job(message).state == "completed"


@pytest.mark.timeout(60)
def test_a_job_is_stopped_when_the_time_is_over(host: Host) -> None:
    message = host.slow.send(30)
    host.slow.send(30)

    assert host.run({"budgetMs": 500}) == [("slow", "failed")]

    assert str(host.site.job(message).error).startswith("TimeLimitExceeded")
    assert host.site.job(message).attempt == 1


@pytest.mark.requirement("G4")
def test_requests_at_once_share_the_jobs(host: Host) -> None:
    for n in range(12):
        host.work.send(n)
    invokers = [Invoker(host.site.state) for _ in range(3)]
    threads = [
        threading.Thread(target=invoker.run, args=(Order(queues=("email",), most=12, seconds=20),))
        for invoker in invokers
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(host.done) == list(range(12))
    assert {(job.state, job.attempt) for job in host.site.all_jobs()} == {("completed", 1)}


def test_a_job_that_does_not_end_in_time_goes_on_and_is_recorded(
    sqlite_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr("flask_understudy.invoking.GRACE_SECONDS", 0.1)

    @sqlite_host.site.jobs.actor(actor_name="deaf")
    def deaf() -> None:
        go_on.wait(30)  # in C: nothing interrupts it

    message = deaf.send()

    assert sqlite_host.run({"budgetMs": 200}) == [("deaf", "active")]

    go_on.set()
    assert sqlite_host.site.eventually("delayed", message).error.startswith("TimeLimitExceeded")  # type: ignore[union-attr]


def test_an_unknown_actor_s_job_is_handed_back(host: Host) -> None:
    message = host.work.send(1)
    del host.site.jobs.broker.actors["work"]

    assert host.run() == [("work", "delayed")]

    assert (host.site.job(message).attempt, host.site.job(message).hand_backs) == (0, 1)


# -- the door ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("I01")
@pytest.mark.parametrize("path", PATHS)
def test_anybody_can_see_that_it_is_there(sqlite_host: Host, path: str) -> None:
    answer = sqlite_host.site.app.test_client().get(path)

    assert (answer.status_code, answer.json) == (200, {"status": "ok", "hasSigningKey": True})


@pytest.mark.requirement("I01")
@pytest.mark.parametrize("path", PATHS)
def test_functions_are_registered(make_site: MakeSite, ledger_url: str, path: str) -> None:
    host = Host(make_site(ledger_url, UNDERSTUDY_SIGNING_KEY=KEY, SCHEDULER_ENABLED=True))
    host.site.jobs.schedule("every 1 hour", name="hourly")(host.work)
    host.site.jobs.create_function(id="park", name="Park the car", event=CarParked)(lambda event: None)

    answer = host.call({}, method="PUT", path=path)

    functions = {function["id"]: function for function in answer.json["data"]}
    assert functions["work"] == {
        "id": "work",
        "name": "Do some work.",
        "queue": "email",
        "event": None,
        "schedules": ["hourly"],
    }
    assert (functions["park"]["name"], functions["park"]["event"]) == ("Park the car", "car.parked")
    with host.site.state.database.statement() as connection:
        rows = connection.exec_driver_sql("SELECT name FROM understudy_schedules").scalars().all()
    assert list(rows) == ["hourly"]


def forged() -> dict[str, dict[str, str]]:
    now, old, ahead = (str(int(time.time()) + shift) for shift in (0, -400, 400))
    body = b'{"max": 1}'
    return {
        "nothing": {},
        "no timestamp": {"X-Webhook-Signature": sign(KEY, now, body)},
        "no signature": {"X-Webhook-Timestamp": now},
        "another key": {"X-Webhook-Timestamp": now, "X-Webhook-Signature": sign("another", now, body)},
        "another body": {"X-Webhook-Timestamp": now, "X-Webhook-Signature": sign(KEY, now, b"{}")},
        "another time": {"X-Webhook-Timestamp": now, "X-Webhook-Signature": sign(KEY, old, body)},
        "too old": {"X-Webhook-Timestamp": old, "X-Webhook-Signature": sign(KEY, old, body)},
        "ahead": {"X-Webhook-Timestamp": ahead, "X-Webhook-Signature": sign(KEY, ahead, body)},
        "no number": {"X-Webhook-Timestamp": "now", "X-Webhook-Signature": sign(KEY, "now", body)},
        "cut": {"X-Webhook-Timestamp": now, "X-Webhook-Signature": sign(KEY, now, body)[:-1]},
        "bearer": {"Authorization": f"Bearer {KEY}"},
    }


@pytest.mark.requirement("P08", "I01")
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("path", PATHS)
def test_who_cannot_sign_runs_nothing(sqlite_host: Host, method: str, path: str) -> None:
    sqlite_host.work.send(1)

    for what, headers in forged().items():
        answer = sqlite_host.send(b'{"max": 1}', headers, method=method, path=path)
        assert answer.status_code == 401, what
        assert answer.content_type == "application/problem+json"
        assert KEY not in answer.text
    assert sqlite_host.done == []


@pytest.mark.requirement("P08")
def test_without_a_key_it_is_closed(make_site: MakeSite, sqlite_ledger: str) -> None:
    host = Host(make_site(sqlite_ledger))
    host.work.send(1)

    assert host.site.app.test_client().get(PATHS[0]).json == {"status": "ok", "hasSigningKey": False}
    for method in ("POST", "PUT"):
        answer = host.call({}, method=method, key="")
        assert answer.status_code == 503
        assert "UNDERSTUDY_SIGNING_KEY" in answer.json["detail"]
    host.site.app.debug = True
    stranger = host.site.app.test_client().post(PATHS[0], environ_base={"REMOTE_ADDR": "203.0.113.7"})
    assert stranger.status_code == 503
    assert host.done == []

    assert host.site.app.test_client().post(PATHS[0]).status_code == 200
    assert host.done == [1]


@pytest.mark.requirement("H01")
@pytest.mark.parametrize("setting", ["JOBS_SIGNING_KEY", "INNGEST_SIGNING_KEY"])
def test_the_key_has_other_names(make_site: MakeSite, sqlite_ledger: str, setting: str) -> None:
    host = Host(make_site(sqlite_ledger, **{setting: KEY}))

    assert host.run() == []
    assert host.call({}, key="another").status_code == 401


def test_the_second_address_can_be_left_out(make_site: MakeSite, sqlite_ledger: str) -> None:
    host = Host(make_site(sqlite_ledger, UNDERSTUDY_SIGNING_KEY=KEY, UNDERSTUDY_INVOKE_ALIAS=""))

    assert host.call({}, path=PATHS[1]).status_code == 404
    assert host.call({}, path=PATHS[0]).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"max": 0},
        {"max": 101},
        {"max": "1"},
        {"budgetMs": 10},
        {"budgetMs": 10**9},
        {"jobId": ""},
        {"jobId": "x" * 65},
        {"queue": 7},
        {"colour": 1},
    ],
)
def test_a_wrong_order_is_refused(sqlite_host: Host, body: Any) -> None:
    sqlite_host.work.send(1)

    assert sqlite_host.call(body).status_code == 422
    assert sqlite_host.done == []


def test_an_order_that_is_no_json_is_refused(sqlite_host: Host) -> None:
    stamp = str(int(time.time()))
    headers = {"X-Webhook-Timestamp": stamp, "X-Webhook-Signature": sign(KEY, stamp, b"{")}

    assert sqlite_host.send(b"{", headers).status_code == 400
