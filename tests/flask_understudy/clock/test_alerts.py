"""Alerts: each episode is told once when it begins and once when it is over, by every means there is."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import sentry_sdk
from flask_mail import Mail

from flask_understudy import signals
from flask_understudy.clock import Alerts, Clock, rescue
from flask_understudy.clock.telling import TRIES
from flask_understudy.ledger import episodes, transitions
from flask_understudy.ledger.transitions import Ending
from flask_understudy.signals import AlertNotice
from tests.flask_understudy.conftest import MakeSite, Site
from tools.smtp import SmtpCatcher
from tools.waiting import wait_for


@pytest.fixture
def site(make_site: MakeSite, ledger_url: str) -> Site:
    return make_site(ledger_url, UNDERSTUDY_ALERT_DEPTH=4, UNDERSTUDY_LEASE_SECONDS=30)


@pytest.fixture
def work(site: Site) -> Any:
    @site.jobs.actor(queue_name="email", max_retries=1)
    def work(n: int = 0) -> None: ...

    return work


class Time:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Ears:
    """Hears the signals about alerts."""

    def __init__(self) -> None:
        self.raised: list[AlertNotice] = []
        self.cleared: list[AlertNotice] = []

    def hear_raised(self, sender: Any, alert: AlertNotice) -> None:
        self.raised.append(alert)

    def hear_cleared(self, sender: Any, alert: AlertNotice) -> None:
        self.cleared.append(alert)


@pytest.fixture
def ears() -> Iterator[Ears]:
    ears = Ears()
    signals.alert_raised.connect(ears.hear_raised)
    signals.alert_cleared.connect(ears.hear_cleared)
    yield ears
    signals.alert_raised.disconnect(ears.hear_raised)
    signals.alert_cleared.disconnect(ears.hear_cleared)


def evaluate(alerts: Alerts, times: int = 1) -> None:
    for _ in range(times):
        alerts.evaluate()
        assert alerts.telling.flush(20)


def fill(site: Site, actor: Any, n: int = 5) -> None:
    site.jobs.send_many([actor.message() for _ in range(n)])


def empty(site: Site) -> None:
    site.execute("DELETE FROM understudy_jobs")


def rules(site: Site) -> list[tuple[str, str]]:
    return [(episode.rule, episode.subject) for episode in episodes.opened(site.state.database)]


def end(site: Site, actor: Any, n: int, **ending: Any) -> list[str]:
    """End jobs; return their ids."""
    process = site.process()
    ids = [message.message_id for message in site.jobs.send_many([actor.message() for _ in range(n)])]
    for id in ids:
        claimed = site.claim(process, id)
        assert claimed is not None
        with site.state.database.transaction() as connection:
            if ending:
                transitions.end(connection, process.id, [Ending(id, claimed.fence, **ending)])
            else:
                transitions.complete(connection, process.id, [(id, claimed.fence, None)])
    return ids


FAILED = {"state": "failed", "outcome": "failed", "reason": "error", "fingerprint": "f00d"}
RETRIED = {"state": "delayed", "outcome": "retried", "delay_ms": 600_000}


class TestEpisodes:
    """Begin and end of an episode."""

    pytestmark = pytest.mark.requirement("M08")

    def test_more_jobs_than_the_depth_are_told_once_and_their_end_once(
        self, site: Site, work: Any, ears: Ears, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "flask_understudy")
        alerts = Alerts(site.state)
        fill(site, work, 4)
        evaluate(alerts)
        assert ears.raised == []

        fill(site, work, 1)
        evaluate(alerts, 3)

        (notice,) = ears.raised
        assert (notice.rule, notice.subject, notice.value, notice.threshold) == ("depth", "email", 5, 4)
        assert notice.ended_at is None
        assert ears.cleared == []

        empty(site)
        evaluate(alerts, 4)

        (over,) = ears.cleared
        assert over.id == notice.id
        assert over.ended_at is not None
        assert over.ended_at >= over.began_at
        lines = [record for record in caplog.records if hasattr(record, "alert")]
        assert [(line.levelname, line.getMessage()) for line in lines] == [
            ("WARNING", "Alert: 5 jobs wait in queue email."),
            ("INFO", "Recovered: 5 jobs wait in queue email."),
        ]
        assert [line.alert["rule"] for line in lines] == ["depth", "depth"]  # type: ignore[attr-defined]

    def test_it_is_over_only_after_two_evaluations_in_a_row(self, site: Site, work: Any, ears: Ears) -> None:
        alerts = Alerts(site.state)
        for _ in range(3):
            fill(site, work)
            evaluate(alerts)
            empty(site)
            evaluate(alerts)
        assert (len(ears.raised), len(ears.cleared)) == (1, 0)
        evaluate(alerts)
        assert (len(ears.raised), len(ears.cleared)) == (1, 1)

    def test_many_clocks_tell_it_once(self, site: Site, work: Any, ears: Ears) -> None:
        clocks = [Alerts(site.state) for _ in range(4)]
        fill(site, work)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(evaluate, clocks))
            empty(site)
            list(pool.map(lambda alerts: evaluate(alerts, 2), clocks))
        assert (len(ears.raised), len(ears.cleared)) == (1, 1)

    def test_another_clock_ends_what_one_began(self, site: Site, work: Any, ears: Ears) -> None:
        fill(site, work)
        evaluate(Alerts(site.state))
        empty(site)
        evaluate(Alerts(site.state), 2)
        assert [notice.id for notice in ears.cleared] == [notice.id for notice in ears.raised]

    def test_the_figure_follows_and_a_new_episode_is_a_new_row(self, site: Site, work: Any, ears: Ears) -> None:
        alerts = Alerts(site.state)
        fill(site, work)
        evaluate(alerts)
        fill(site, work)
        evaluate(alerts)
        (episode,) = episodes.opened(site.state.database)
        assert (episode.value, episode.message) == (10, "10 jobs wait in queue email.")
        empty(site)
        evaluate(alerts, 2)
        fill(site, work)
        evaluate(alerts)
        assert len({notice.id for notice in ears.raised}) == 2

    @pytest.mark.requirement("C27", "L04")
    def test_health_is_degraded_while_an_alert_is_open(self, site: Site, work: Any) -> None:
        alerts = Alerts(site.state)
        assert site.jobs.health()["overallStatus"] == "healthy"
        fill(site, work)
        evaluate(alerts)
        assert site.jobs.health()["overallStatus"] == "degraded"
        assert site.jobs.health(tenant="aster")["overallStatus"] == "healthy"  # it is about all tenants' jobs
        empty(site)
        evaluate(alerts, 2)
        assert site.jobs.health()["overallStatus"] == "healthy"

    def test_a_worker_s_clock_evaluates_by_itself(
        self, make_site: MakeSite, ledger_url: str, ears: Ears, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flask_understudy.clock.ALERT_SECONDS", 0.05)
        site = make_site(ledger_url, UNDERSTUDY_ALERT_DEPTH=1)

        @site.jobs.actor(queue_name="held")
        def held() -> None: ...

        site.jobs.pause("held")
        fill(site, held, 2)
        clock = Clock(site.state, site.process())
        clock.start()
        wait_for(lambda: ears.raised, "the alert")
        empty(site)
        wait_for(lambda: ears.cleared, "the recovery")
        clock.stop()
        assert (len(ears.raised), len(ears.cleared)) == (1, 1)


class TestRules:
    """What is found to be wrong."""

    @pytest.mark.requirement("M09")
    def test_more_than_a_tenth_of_at_least_ten_attempts_failed(self, site: Site, work: Any) -> None:
        alerts = Alerts(site.state)
        end(site, work, 1, **RETRIED)
        end(site, work, 8)
        evaluate(alerts)
        assert rules(site) == []  # nine attempts say nothing
        end(site, work, 1)
        evaluate(alerts)
        assert rules(site) == []  # one in ten is allowed
        end(site, work, 1, **FAILED)
        evaluate(alerts)
        assert rules(site) == [("failure-rate", "email")]
        assert episodes.opened(site.state.database)[0].message == (
            "18% of 11 attempts in queue email failed within 5 minutes."
        )

    @pytest.mark.requirement("M09")
    def test_failures_of_long_ago_do_not_count(self, site: Site, work: Any) -> None:
        end(site, work, 12, **FAILED)
        site.execute(f"UPDATE understudy_tallies SET at = {site.moment(-400)}")
        evaluate(Alerts(site.state))
        assert ("failure-rate", "email") not in rules(site)

    @pytest.mark.requirement("M10", "C14")
    def test_a_silent_worker_with_jobs_is_stalled_and_a_long_job_is_not(self, site: Site, work: Any) -> None:
        alerts, process, idle = Alerts(site.state), site.process(), site.process()
        message = work.send()
        site.claim(process, message)
        site.change(message, started_at=site.moment(-36_000))
        site.execute(f"UPDATE understudy_workers SET lease_until = {site.moment(-9)} WHERE id = '{idle.id}'")
        evaluate(alerts)
        assert rules(site) == []

        site.execute(f"UPDATE understudy_workers SET lease_until = {site.moment(-9)} WHERE id = '{process.id}'")
        evaluate(alerts)

        assert rules(site) == [("stalled", process.id)]
        (episode,) = episodes.opened(site.state.database)
        assert 38.5 < episode.value < 45  # the lease of 30 s ran out 9 s ago

    @pytest.mark.requirement("M10", "C14")
    def test_a_worker_whose_jobs_were_taken_back_in_time_was_stalled_too(
        self, site: Site, work: Any, ears: Ears
    ) -> None:
        alerts, process = Alerts(site.state), site.process()
        site.claim(process, work.send())
        site.kill(process)
        assert rescue(site.state, silent=alerts.rules.note_silent) == 1
        evaluate(alerts, 3)
        assert [notice.subject for notice in ears.raised] == [process.id]
        assert [notice.subject for notice in ears.cleared] == [process.id]

    @pytest.mark.requirement("M11")
    def test_a_broker_that_cannot_be_reached(
        self, make_site: MakeSite, ledger_url: str, redis_server: Any, ears: Ears
    ) -> None:
        site = make_site(ledger_url, redis_server.url)
        alerts = Alerts(site.state)
        evaluate(alerts)
        assert ears.raised == []
        redis_server.kill()
        evaluate(alerts, 2)
        assert [(notice.rule, notice.subject) for notice in ears.raised] == [("broker", "")]
        redis_server.start()
        wait_for(site.state.transport.check, "the broker to be back")
        evaluate(alerts, 2)
        assert [notice.rule for notice in ears.cleared] == ["broker"]

    @pytest.mark.requirement("M12")
    def test_a_queue_that_grew_in_each_of_five_minutes(self, site: Site, work: Any) -> None:
        time = Time()
        alerts = Alerts(site.state, time)
        for minute in range(6):
            time.seconds = minute * 60.0
            evaluate(alerts)
            if minute < 3 or minute == 4:
                assert rules(site) == [], minute
            fill(site, work, 1)
        assert ("growing", "email") in rules(site)

    @pytest.mark.requirement("M12")
    def test_a_queue_that_did_not_grow_in_one_of_them(self, site: Site, work: Any) -> None:
        time = Time()
        alerts = Alerts(site.state, time)
        for minute in range(7):
            time.seconds = minute * 60.0
            evaluate(alerts)
            if minute != 3:
                fill(site, work, 1)
        assert ("growing", "email") not in rules(site)

    @pytest.mark.requirement("M12")
    def test_jobs_that_fail_alike_again_and_again(self, site: Site, work: Any) -> None:
        alerts = Alerts(site.state)
        ids = end(site, work, 9, **FAILED)
        ids += end(site, work, 1, **(FAILED | {"fingerprint": "beef"}))
        evaluate(alerts)
        assert ("repeated-failures", "f00d") not in rules(site)
        ids += end(site, work, 1, **FAILED)
        evaluate(alerts)
        assert ("repeated-failures", "f00d") in rules(site)
        site.execute(f"UPDATE understudy_jobs SET finished_at = {site.moment(-3700)} WHERE id = '{ids[0]}'")
        evaluate(alerts, 2)
        assert ("repeated-failures", "f00d") not in rules(site)

    @pytest.mark.requirement("M12")
    def test_failures_that_somebody_ignores_are_not_told(self, site: Site, work: Any) -> None:
        end(site, work, 12, **FAILED)
        site.execute(
            "INSERT INTO understudy_failure_verdicts (tenant, fingerprint, verdict, at, subject) "
            f"VALUES ('', 'f00d', 'ignored', {site.moment(0)}, 'olga')"
        )
        evaluate(Alerts(site.state))
        assert ("repeated-failures", "f00d") not in rules(site)


class Hook(BaseHTTPRequestHandler):
    """What receives the webhook: answers with the statuses it is given, then 204."""

    bodies: list[dict[str, Any]]
    statuses: list[int]
    hold: threading.Event

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.bodies.append(body | {"_type": self.headers["Content-Type"], "_path": self.path})
        self.hold.wait(20)
        status = self.statuses.pop(0) if self.statuses else 204
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[tuple[str, type[Hook]]]:
    """The URL of a webhook, and what it heard."""
    kind = type("Heard", (Hook,), {"bodies": [], "statuses": [], "hold": threading.Event()})
    kind.hold.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/alerts", kind
    kind.hold.set()
    server.shutdown()
    server.server_close()


class TestDestinations:
    """Who is told, and what becomes of those that cannot be reached."""

    pytestmark = pytest.mark.requirement("M08")

    def deep(self, make_site: MakeSite, url: str, **config: Any) -> tuple[Site, Alerts]:
        site = make_site(url, UNDERSTUDY_ALERT_DEPTH=1, **config)

        @site.jobs.actor(queue_name="email")
        def work() -> None: ...

        fill(site, work, 2)
        return site, Alerts(site.state)

    def test_a_webhook_is_posted_both_ends_as_json(
        self, make_site: MakeSite, ledger_url: str, hook: tuple[str, type[Hook]]
    ) -> None:
        site, alerts = self.deep(make_site, ledger_url, UNDERSTUDY_ALERT_WEBHOOK=hook[0])
        evaluate(alerts, 2)
        empty(site)
        evaluate(alerts, 3)
        raised, cleared = hook[1].bodies
        assert raised["_type"] == "application/json"
        assert (raised["event"], raised["rule"], raised["subject"]) == ("alert.raised", "depth", "email")
        assert (raised["value"], raised["threshold"], raised["endedAt"]) == (2, 1, None)
        assert (cleared["event"], cleared["id"]) == ("alert.cleared", raised["id"])
        assert cleared["endedAt"] is not None

    def test_a_webhook_that_fails_is_tried_with_the_next_evaluations(
        self, make_site: MakeSite, sqlite_ledger: str, hook: tuple[str, type[Hook]]
    ) -> None:
        hook[1].statuses += [500, 302]
        _, alerts = self.deep(make_site, sqlite_ledger, UNDERSTUDY_ALERT_WEBHOOK=hook[0])
        evaluate(alerts)
        assert len(hook[1].bodies) == 1
        evaluate(alerts)
        assert [body["_path"] for body in hook[1].bodies] == ["/alerts"] * 2  # no redirect is followed
        evaluate(alerts, 3)
        assert len(hook[1].bodies) == 3

    def test_it_is_given_up_after_five_tries_and_logged(
        self,
        make_site: MakeSite,
        sqlite_ledger: str,
        hook: tuple[str, type[Hook]],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        hook[1].statuses += [503] * 20
        _, alerts = self.deep(make_site, sqlite_ledger, UNDERSTUDY_ALERT_WEBHOOK=hook[0])
        evaluate(alerts, TRIES + 3)
        assert len(hook[1].bodies) == TRIES == 5
        told = [r.levelname for r in caplog.records if "could not be told by webhook" in r.getMessage()]
        assert told == ["WARNING"] * 4 + ["ERROR"]

    def test_a_destination_that_hangs_does_not_hold_up_the_turn(
        self, make_site: MakeSite, sqlite_ledger: str, hook: tuple[str, type[Hook]]
    ) -> None:
        hook[1].hold.clear()
        site, alerts = self.deep(make_site, sqlite_ledger, UNDERSTUDY_ALERT_WEBHOOK=hook[0])
        alerts.evaluate()
        wait_for(lambda: hook[1].bodies, "the webhook to hang")
        empty(site)
        alerts.evaluate()
        alerts.evaluate()
        assert rules(site) == []  # while the first notice is still under way
        assert len(hook[1].bodies) == 1
        hook[1].hold.set()
        assert alerts.telling.flush(20)
        assert [body["event"] for body in hook[1].bodies] == ["alert.raised", "alert.cleared"]

    def test_mails_go_to_each_address(self, make_site: MakeSite, ledger_url: str, smtp_server: SmtpCatcher) -> None:
        site, alerts = self.deep(
            make_site,
            ledger_url,
            UNDERSTUDY_ALERT_EMAILS=["ops@example.com", "night@example.com"],
            MAIL_SERVER=smtp_server.host,
            MAIL_PORT=smtp_server.port,
            MAIL_DEFAULT_SENDER="jobs@example.com",
            TESTING=False,
        )
        Mail(site.app)
        evaluate(alerts, 2)
        empty(site)
        evaluate(alerts, 2)
        subjects = [(message["To"], message["Subject"]) for message in smtp_server.messages]
        assert sorted(subjects) == [
            ("night@example.com", "Alert: depth of email"),
            ("night@example.com", "Recovered: depth of email"),
            ("ops@example.com", "Alert: depth of email"),
            ("ops@example.com", "Recovered: depth of email"),
        ]
        assert "2 jobs wait in queue email." in smtp_server.messages[0].get_content()

    def test_mail_without_flask_mail_is_logged_and_stops_nothing(
        self, make_site: MakeSite, sqlite_ledger: str, ears: Ears, caplog: pytest.LogCaptureFixture
    ) -> None:
        _, alerts = self.deep(make_site, sqlite_ledger, UNDERSTUDY_ALERT_EMAILS="ops@example.com")
        evaluate(alerts)
        assert len(ears.raised) == 1
        assert "the application has no Flask-Mail" in caplog.text

    def test_sentry_is_told_where_it_is_initialised(self, make_site: MakeSite, sqlite_ledger: str) -> None:
        events: list[Any] = []
        site, alerts = self.deep(make_site, sqlite_ledger)
        with sentry_sdk.isolation_scope():
            before = sentry_sdk.get_global_scope().client
            sentry_sdk.init(
                dsn="http://key@127.0.0.1:9/1",
                before_send=lambda event, _: events.append(event),
                default_integrations=False,
            )
            try:
                evaluate(alerts)
                empty(site)
                evaluate(alerts, 2)
            finally:
                sentry_sdk.get_global_scope().set_client(before)
        assert [(event["level"], event["message"]) for event in events] == [
            ("warning", "Alert: depth of email"),
            ("info", "Recovered: depth of email"),
        ]

    def test_a_subscriber_that_raises_does_not_keep_others_from_hearing(
        self, make_site: MakeSite, sqlite_ledger: str, ears: Ears, hook: tuple[str, type[Hook]]
    ) -> None:
        def broken(sender: Any, alert: AlertNotice) -> None:
            raise ValueError("no")

        signals.alert_raised.connect(broken)
        _, alerts = self.deep(make_site, sqlite_ledger, UNDERSTUDY_ALERT_WEBHOOK=hook[0])
        evaluate(alerts)
        assert len(ears.raised) == len(hook[1].bodies) == 1

    def test_who_is_muted_hears_nothing_until_it_is_over_even_of_the_next_episode(
        self, make_site: MakeSite, ledger_url: str, hook: tuple[str, type[Hook]], ears: Ears
    ) -> None:
        site, alerts = self.deep(make_site, ledger_url, UNDERSTUDY_ALERT_WEBHOOK=hook[0])
        evaluate(alerts)
        with site.state.database.transaction() as connection:
            assert episodes.mute(connection, ears.raised[0].id, 5)
        empty(site)
        evaluate(alerts, 2)
        fill(site, site.jobs.broker.actors["work"], 2)
        evaluate(alerts)
        assert len(hook[1].bodies) == 1
        assert [notice.muted for notice in (*ears.cleared, *ears.raised)] == [True, False, True]
        site.execute(f"UPDATE understudy_alerts SET muted_until = {site.moment(-1)}")
        empty(site)
        evaluate(alerts, 2)
        assert [body["event"] for body in hook[1].bodies] == ["alert.raised", "alert.cleared"]
