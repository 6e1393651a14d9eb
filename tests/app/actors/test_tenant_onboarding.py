"""An organisation that was ordered is made once, with its administrator, whatever happens on the way."""

import itertools
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dramatiq
import pytest
import sqlalchemy as sa
from flask import Flask

from app.actors import tenant_onboarding as actors
from app.actors.tenant_onboarding import QUEUE, InvalidOnboarding, OnboardingConflict, queue_tenant_onboarding
from app.extensions import db, jobs
from app.models.analytics_event import AnalyticsEvent
from app.models.audit_log import AuditLog
from app.models.invitation import Invitation
from app.models.tenant import Tenant
from app.models.user import User
from app.models.wiki_page import WikiPage
from app.services import tenant_onboarding as onboarding
from flask_understudy.testing import TestWorker
from tests.app.conftest import AppFactory
from tests.app.processes import ROOT
from tests.integration.workers import Supervisor, Workers
from tools.smtp import SmtpCatcher
from tools.waiting import wait_for

#: The seed document's, whose words are camelCase in its language.
ORDER = {
    "organization_name": "Acme Corp",
    "admin_email": "admin@acme.com",
    "admin_name": "John Doe",
    "tier": "professional",
    "stripe_customer_id": "cus_123",
    "stripe_subscription_id": "sub_123",
}
STEPS = ["organisation", "administrator", "defaults", "billing", "invitation", "announcement"]


@pytest.fixture
def app(make_app: AppFactory, database_url: str, smtp_server: SmtpCatcher) -> Flask:
    return make_app(database_url, SMTP_HOST="127.0.0.1", SMTP_PORT=smtp_server.port, MAIL_SUPPRESS_SEND=False)


@pytest.fixture
def worker(app: Flask) -> Iterator[TestWorker]:
    with app.app_context(), TestWorker(jobs) as worker:
        yield worker


def order(**change: str | None) -> dramatiq.Message[Any]:
    return queue_tenant_onboarding(**(ORDER | change))  # type: ignore[arg-type]


def job_of(message: dramatiq.Message[Any]) -> Any:
    return jobs.get(message.message_id)


def count(model: Any, *where: Any) -> int:
    return db.session.scalar(sa.select(sa.func.count()).select_from(model).where(*where)) or 0


def check_made_once(smtp_server: SmtpCatcher) -> Tenant:
    """See that there is one of everything, and return the organisation."""
    assert set(db.session.scalars(sa.text("SELECT state FROM understudy_jobs"))) == {"completed"}
    [tenant] = db.session.scalars(sa.select(Tenant))
    [user] = db.session.scalars(sa.select(User))
    [page] = db.session.scalars(sa.select(WikiPage))
    [invitation] = db.session.scalars(sa.select(Invitation))
    [counted] = db.session.scalars(sa.select(AnalyticsEvent))
    [event] = db.session.execute(sa.text("SELECT tenant, name FROM understudy_events")).all()
    [mail] = smtp_server.wait()
    owned = [user.tenant_id, page.tenant_id, invitation.tenant_id, counted.tenant_id, event.tenant]
    assert owned == [tenant.id] * 5
    assert (tenant.name, tenant.slug, tenant.tier) == ("Acme Corp", "acme-corp", "professional")
    assert (tenant.stripe_customer_id, tenant.stripe_subscription_id) == ("cus_123", "sub_123")
    assert tenant.onboarded_at is not None
    assert (user.email, user.name, user.role, user.password_hash) == ("admin@acme.com", "John Doe", "admin", None)
    assert (invitation.email, invitation.role, event.name) == ("admin@acme.com", "admin", "tenant.onboarded")
    assert (mail["To"], mail["Subject"]) == ("admin@acme.com", "Acme Corp invites you")
    actions = sorted(db.session.scalars(sa.select(AuditLog.action).where(AuditLog.tenant_id == tenant.id)))
    assert actions == ["invitation.create", "tenant.create"]
    return tenant


@pytest.mark.requirement("A49", "A50", "V12", "T05")
def test_an_organisation_is_made_and_its_administrator_signs_in(
    app: Flask, worker: TestWorker, smtp_server: SmtpCatcher
) -> None:
    message = order()
    assert (job_of(message).state, count(Tenant)) == ("waiting", 0)
    worker.drain(raise_errors=True)

    tenant = check_made_once(smtp_server)
    job = job_of(message)
    assert (job.queue, job.tenant, job.max_attempts) == ("tenant-onboarding", tenant.id, 3)
    assert job.result == {"tenant": tenant.id, "slug": "acme-corp", "skipped": False}
    steps = db.session.scalars(sa.text("SELECT name FROM understudy_steps ORDER BY position")).all()
    assert steps == STEPS

    client = app.test_client()
    [mail] = smtp_server.messages
    link = re.search(r"http\S+/join\?invitation=([\w-]+)", mail.get_body(("plain",)).get_content())  # type: ignore[union-attr]
    assert link is not None
    person = {"email": "admin@acme.com", "name": "John Doe", "password": "correct horse", "invitation": link[1]}
    assert client.post("/join", data=person).status_code == 200
    assert client.post("/join", data=person).status_code == 422
    signed_in = client.post("/api/auth/login", json={name: person[name] for name in ("email", "password")})
    assert signed_in.status_code == 201
    bearer = {"Authorization": f"Bearer {signed_in.json['token']}"}  # type: ignore[index]
    assert client.post("/api/auth/invitations", json={"email": "b@acme.com"}, headers=bearer).status_code == 201
    assert count(User) == 1


@pytest.mark.requirement("A50", "T02")
@pytest.mark.parametrize("same", [{}, {"organization_name": "ACME corp", "admin_name": "J. Doe"}], ids=["same", "like"])
@pytest.mark.parametrize("subscription", ["sub_123", None])
def test_the_same_order_three_times_is_one_organisation(
    worker: TestWorker, smtp_server: SmtpCatcher, subscription: str | None, same: dict[str, str]
) -> None:
    first = order(stripe_subscription_id=subscription)
    assert order(stripe_subscription_id=subscription).message_id == first.message_id
    worker.drain(raise_errors=True)
    again = [order(stripe_subscription_id=subscription, **same) for _ in range(2)]
    worker.drain(raise_errors=True)
    db.session.execute(sa.update(Tenant).values(stripe_subscription_id="sub_123"))
    db.session.commit()

    tenant = check_made_once(smtp_server)
    for message in again:
        assert message.message_id != first.message_id
        assert job_of(message).result == {"tenant": tenant.id, "slug": tenant.slug, "skipped": True}


@pytest.mark.requirement("A50", "T02")
def test_a_later_order_takes_nothing_back(worker: TestWorker, smtp_server: SmtpCatcher) -> None:
    order()
    worker.drain(raise_errors=True)
    db.session.execute(sa.update(Tenant).values(tier="enterprise"))
    db.session.execute(sa.delete(WikiPage))
    db.session.commit()

    order()
    worker.drain(raise_errors=True)

    assert (db.session.scalar(sa.select(Tenant.tier)), count(WikiPage)) == ("enterprise", 0)


@pytest.mark.requirement("A50", "T02")
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(len(STEPS)), ids=STEPS)
def test_broken_off_at_any_step_each_has_its_effect_once(
    worker: TestWorker, smtp_server: SmtpCatcher, monkeypatch: pytest.MonkeyPatch, number: int, moment: str
) -> None:
    """The work of a step that is broken off after it, and before it is kept, is undone; the next attempt does it."""
    module, name = WORK[number]
    work = getattr(module, name)

    def breaks(*args: Any) -> Any:
        if moment == "after":
            work(*args)
            db.session.flush()
        break_off()

    message = order()
    with monkeypatch.context() as patch:
        patch.setattr(module, name, breaks)
        assert worker.run(message).state == "delayed"
    assert count(Invitation) == int(number > STEPS.index("invitation"))
    done = db.session.scalars(sa.text("SELECT name FROM understudy_steps WHERE state = 'completed'")).all()
    assert set(done) == set(STEPS[:number])
    worker.run(message, raise_errors=True)
    worker.drain(raise_errors=True)

    check_made_once(smtp_server)


@pytest.mark.timeout(240)
@pytest.mark.requirement("A50", "T02")
def test_killed_after_every_step_each_has_its_effect_once(
    app: Flask, worker: TestWorker, database_url: str, smtp_server: SmtpCatcher, tmp_path: Path
) -> None:
    """Each death costs an attempt, and the queue has three: this job has more."""
    tenant = onboarding.read(**ORDER).tenant_id
    message = actors.onboard_tenant.send_with_options(
        kwargs=ORDER, tenant=tenant, max_retries=20, min_backoff=100, backoff_factor=1
    )
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    environ = {
        "DATABASE_URL": database_url,
        "INSTANCE_PATH": str(tmp_path / "instance"),
        "SECRET_KEY": app.config["SECRET_KEY"],
        "FLASK_APP": "tests.app.actors.dying",
        "DEATHS": str(deaths),
        "UNDERSTUDY_LEASE_SECONDS": "3",
        "UNDERSTUDY_RESCUE_GRACE_SECONDS": "1",
        "UNDERSTUDY_CLOCK_LEASE_SECONDS": "3",
        "UNDERSTUDY_CLOCK_SECONDS": "0.5",
        "PYTHONPATH": str(ROOT),
    }
    logs = itertools.count()

    def start() -> Workers:
        log = tmp_path / f"log-{next(logs)}"
        return Workers(environ, log, threads=2, modules=("app.actors",), queues=(QUEUE,)).__enter__()

    with Supervisor(start):
        wait_for(lambda: job_of(message).state == "completed", "its end", timeout_seconds=120, every_seconds=0.2)
    assert sorted(death.name for death in deaths.iterdir()) == sorted(STEPS)
    worker.drain(raise_errors=True)

    check_made_once(smtp_server)


def break_off(*_: Any) -> Any:
    raise ConnectionError("the power is off")


#: What each step does.
WORK: list[tuple[Any, str]] = [
    (onboarding, "add_tenant"),
    (onboarding, "add_administrator"),
    (onboarding, "add_defaults"),
    (onboarding, "set_billing"),
    (actors, "_invite"),
    (actors, "_announce"),
]


@pytest.mark.requirement("A50", "D14", "T02")
@pytest.mark.parametrize("number", range(1, len(STEPS)), ids=STEPS[1:])
def test_after_three_tries_it_has_failed_and_the_same_order_goes_on(
    worker: TestWorker, smtp_server: SmtpCatcher, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    message = order()
    with monkeypatch.context() as patch:
        patch.setattr(*WORK[number], break_off)
        assert [worker.run(message).state for _ in range(3)] == ["delayed", "delayed", "failed"]
    order()
    worker.drain(raise_errors=True)
    db.session.execute(sa.text("UPDATE understudy_jobs SET state = 'completed' WHERE state = 'failed'"))
    db.session.commit()

    check_made_once(smtp_server)


@pytest.mark.requirement("A50")
def test_an_order_that_failed_can_be_corrected(
    worker: TestWorker, smtp_server: SmtpCatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The person of the wrong address has no account and no invitation that opens anything."""
    message = order(admin_email="amdin@acme.com", admin_name="Jon Doe")
    with monkeypatch.context() as patch:
        patch.setattr(actors, "_announce", break_off)
        assert [worker.run(message).state for _ in range(3)] == ["delayed", "delayed", "failed"]
    worker.drain(raise_errors=True)
    [wrong] = smtp_server.messages

    order()
    worker.drain(raise_errors=True)

    [user] = db.session.scalars(sa.select(User))
    [invitation] = db.session.scalars(sa.select(Invitation))
    assert (user.email, user.name, invitation.email) == ("admin@acme.com", "John Doe", "admin@acme.com")
    assert [mail["To"] for mail in smtp_server.messages] == [wrong["To"], "admin@acme.com"]


@pytest.mark.requirement("A50", "T02")
def test_two_at_once_make_one_organisation(
    worker: TestWorker, smtp_server: SmtpCatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step of one order waits for the same step of the other, so that they meet in all of them."""
    meeting = threading.Barrier(2)
    for module, name in WORK:
        monkeypatch.setattr(module, name, _meets(getattr(module, name), meeting))
    tenant = onboarding.read(**ORDER).tenant_id
    messages = [actors.onboard_tenant.send_with_options(kwargs=ORDER, tenant=tenant) for _ in range(2)]
    threads = dramatiq.Worker(jobs.broker, worker_threads=4, worker_timeout=100)
    threads.start()
    try:
        wait_for(_all_ended, "all jobs to end", timeout_seconds=60)
    finally:
        threads.stop()

    check_made_once(smtp_server)
    assert sorted(job_of(message).result["skipped"] for message in messages) == [False, True]


def _meets(work: Any, meeting: threading.Barrier) -> Any:
    def step(*args: Any) -> Any:
        try:
            meeting.wait(1)
        except threading.BrokenBarrierError:  # the other one waits for its next attempt
            meeting.reset()
        return work(*args)

    return step


def _all_ended() -> bool:
    db.session.rollback()
    states = db.session.scalars(sa.text("SELECT state FROM understudy_jobs")).all()
    return len(states) >= 4 and set(states) <= {"completed", "failed"}


@pytest.mark.requirement("A49")
def test_organisations_of_one_name_are_known_by_different_slugs(worker: TestWorker) -> None:
    messages = [order(stripe_subscription_id=f"sub_{n}", admin_email=f"a{n}@x.example") for n in range(3)]
    worker.drain(raise_errors=True)

    slugs = [job_of(message).result["slug"] for message in messages]
    assert len(set(slugs)) == 3
    assert all(re.fullmatch(r"acme-corp(-[0-9a-f]{8})?", slug) for slug in slugs)
    assert count(Tenant, Tenant.name == "Acme Corp") == 3


def test_two_that_take_one_slug_at_once_have_two(worker: TestWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    free_slug = onboarding.accounts.free_slug
    asked: list[str] = []

    def taken_meanwhile(name: str) -> str:
        asked.append(name)
        return "acme-corp" if len(asked) < 3 else free_slug(name)

    monkeypatch.setattr(onboarding.accounts, "free_slug", taken_meanwhile)
    for n in range(2):
        order(stripe_subscription_id=f"sub_{n}", admin_email=f"a{n}@x.example")
    worker.drain(raise_errors=True)

    slugs = db.session.scalars(sa.select(Tenant.slug).order_by(Tenant.created_at)).all()
    assert (slugs[0], slugs[1].startswith("acme-corp-"), len(asked)) == ("acme-corp", True, 3)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"organization_name": ""}, "organization_name is ''"),
    ({"organization_name": " "}, "organization_name is ' '"),
    ({"organization_name": "x" * 201}, "organization_name is 'xxx"),
    ({"organization_name": "Acme\r\nBcc: x@y.example"}, "organization_name is 'Acme"),
    ({"organization_name": "Acme\x00"}, "one line without control characters"),
    ({"organization_name": "Acme \u202e"}, "one line without control characters"),
    ({"organization_name": None}, "organization_name is None"),
    ({"admin_email": "nobody"}, "admin_email is 'nobody'"),
    ({"admin_email": "a@b.example, c@d.example"}, "admin_email is"),
    ({"admin_email": "Ada <ada@acme.com>"}, "admin_email is"),
    ({"admin_email": "a@b.example\nBcc: c@d.example"}, "admin_email is"),
    ({"admin_email": "a" * 250 + "@b.example"}, "admin_email is"),
    ({"admin_name": ""}, "admin_name is ''"),
    ({"admin_name": "\ud800"}, "admin_name is"),
    ({"tier": "gold"}, "tier is 'gold': Input should be 'free', 'starter', 'professional' or 'enterprise'"),
    ({"tier": "Free"}, "tier is 'Free'"),
    ({"tier": 1}, "tier is 1"),
    ({"stripe_customer_id": "sub_123"}, "stripe_customer_id is 'sub_123': a customer of Stripe's is cus_"),
    ({"stripe_customer_id": "cus_"}, "stripe_customer_id is 'cus_'"),
    ({"stripe_subscription_id": "sub_1/../2"}, "stripe_subscription_id is 'sub_1/../2'"),
    ({"stripe_subscription_id": "sub_" + "1" * 80}, "stripe_subscription_id is"),
    ({"stripe_subscription_id": ""}, "stripe_subscription_id is ''"),
    ({"tier": "gold", "admin_email": "x"}, "admin_email is 'x'.*; tier is 'gold'"),
]


@pytest.mark.requirement("A49")
@pytest.mark.parametrize(("change", "said"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_said_at_once_and_nothing_is_stored(
    worker: TestWorker, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidOnboarding, match=said):
        order(**change)

    assert (worker.sent(), count(Tenant)) == ([], 0)


@pytest.mark.requirement("A49")
def test_a_subscription_is_of_one_organisation(worker: TestWorker) -> None:
    first = order()
    with pytest.raises(OnboardingConflict, match=f"tier is 'free', and .* 'professional'.* job {first.message_id}"):
        order(tier="free")
    worker.drain(raise_errors=True)
    with pytest.raises(OnboardingConflict, match="'Other', and sub_123 is the subscription of 'Acme Corp'"):
        order(organization_name="Other")

    assert count(Tenant) == 1
    assert [job.id for job in worker.sent(actors.onboard_tenant)] == [first.message_id]


@pytest.mark.requirement("A49", "P10")
@pytest.mark.parametrize("change", [{}, {"stripe_subscription_id": "sub_2"}], ids=["none", "other"])
def test_a_job_makes_the_organisation_that_it_belongs_to_and_no_other(
    worker: TestWorker, tenant_a: Tenant, change: dict[str, str]
) -> None:
    """Who may replay jobs with other arguments makes no organisation by it."""
    message = actors.onboard_tenant.send_with_options(kwargs=ORDER | change, tenant=tenant_a.id)

    job = worker.run(message)

    assert (job.state, job.attempt, count(Tenant), count(User)) == ("failed", 1, 1, 0)
    assert "not of the organisation" in str(job.error)
