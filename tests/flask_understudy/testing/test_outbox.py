"""Looking at what was sent in an application's tests."""

from __future__ import annotations

import pytest

from tests.flask_understudy.conftest import Site


def test_sent_lists_accepted_jobs_first_come_first(site: Site) -> None:
    @site.jobs.actor(queue_name="a")
    def one(n: int) -> None: ...

    @site.jobs.actor(queue_name="b")
    def two() -> None: ...

    for n in range(20):
        one.send(n)
    two.send()
    site.worker.drain("a")

    assert [job.args for job in site.worker.sent(one)] == [[n] for n in range(20)]
    assert [job.actor for job in site.worker.sent(queue="b")] == ["two"]
    assert len(site.worker.sent()) == 21


def test_sent_lists_jobs_of_the_open_transaction_too(site: Site) -> None:
    @site.jobs.actor()
    def work() -> None: ...

    with site.app.app_context():
        site.db.session.add(site.Note(text="open"))
        work.send()
        assert len(site.worker.sent(work)) == 1
        site.db.session.rollback()
        assert site.worker.sent(work) == []


def test_assert_sent_finds_by_arguments(site: Site) -> None:
    @site.jobs.actor(actor_name="mail:send", queue_name="mail")
    def send_mail(to: str, *, copies: int = 1) -> None: ...

    send_mail.send("a@example.com", copies=2)
    send_mail.send("b@example.com")

    [job] = site.worker.assert_sent(send_mail, args=("a@example.com",), kwargs={"copies": 2}, times=1)
    assert job.kwargs == {"copies": 2}
    assert len(site.worker.assert_sent("mail:send")) == 2
    site.worker.assert_sent(send_mail, args=("c@example.com",), times=0)
    site.worker.assert_sent(send_mail, queue="mail", times=2)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"args": ("x",)}, r"mail:send was never sent with args=\('x',\); expected was once or more"),
        ({"times": 2}, "mail:send was sent once; expected was 2 times"),
        ({"times": 0}, "mail:send was sent once; expected was never"),
        ({"kwargs": {"a": 1}}, r"was never sent with kwargs=\{'a': 1\}"),
        ({"queue": "other"}, "was never sent with queue='other'"),
    ],
)
def test_assert_sent_says_what_was_sent_instead(sqlite_site: Site, terms: dict, message: str) -> None:
    @sqlite_site.jobs.actor(actor_name="mail:send")
    def send_mail(to: str) -> None: ...

    send_mail.send("a@example.com")

    with pytest.raises(AssertionError, match=message) as failure:
        sqlite_site.worker.assert_sent(send_mail, **terms)
    assert "mail:send args=['a@example.com'] kwargs={} (waiting in queue default)" in str(failure.value)


def test_assert_sent_says_that_nothing_was_sent(sqlite_site: Site) -> None:
    with pytest.raises(AssertionError, match="Sent were: no jobs at all"):
        sqlite_site.worker.assert_sent("mail:send")
