"""The examples of docs/steps.md run as they stand there."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_understudy.ledger import Job
from tests.flask_understudy.conftest import MakeSite, Site
from tests.flask_understudy.rest.conftest import who
from tests.flask_understudy.steps.test_steps import described, steps_of

PAGE = Path(__file__).parents[3] / "docs" / "steps.md"


@pytest.fixture
def site(make_site: MakeSite, sqlite_ledger: str) -> Site:
    site = make_site(sqlite_ledger)
    site.app.config["SECRET_KEY"] = "a secret for tests, long enough"
    site.jobs.authorizer(who)
    return site


@pytest.fixture
def page(site: Site) -> Iterator[Any]:
    """The module that the page's examples make up."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 5

    class Parcel(site.db.Model):  # type: ignore[name-defined, misc]
        id = sa.Column(sa.Integer, primary_key=True)
        order_id = sa.Column(sa.Integer, nullable=False)

    with site.app.app_context():
        site.db.create_all()
    module: Any = types.ModuleType("docs_steps")
    module.links = []
    counts = {"orders": 7, "returns": 2}
    module.__dict__.update(
        db=site.db, jobs=site.jobs, Parcel=Parcel, mail_to_ann=module.links.append, count=lambda what, day: counts[what]
    )
    sys.modules[module.__name__] = module
    exec("\n\n".join(blocks), module.__dict__)
    yield module
    del sys.modules[module.__name__]


def finished(site: Site, message: Any) -> Job:
    site.worker.drain(include_delayed=True)
    job = site.job(message)
    assert job.state == "completed", job.error
    return job


def test_an_order_is_fulfilled(site: Site, page: Any) -> None:
    message = page.fulfil.send(7)

    assert finished(site, message).result == f"charge 7 ({message.message_id}:charge)"
    assert [s.name for s in steps_of(site, message)] == ["charge", "cool off", "ship"]
    with site.db_session() as session:
        assert session.scalars(sa.select(page.Parcel.order_id)).all() == [7]


def test_nobody_pays(site: Site, page: Any) -> None:
    assert finished(site, page.remind.send(7)).result == "too late"


def test_ann_decides(site: Site, page: Any) -> None:
    message = page.refund.send(7, 100)
    site.worker.run(message)
    site.app.test_client().post(page.links[0], data={"decision": "approve"})

    assert finished(site, message).result == "refunded, says link:ann@example.com"


def test_a_day_is_closed(site: Site, page: Any) -> None:
    assert finished(site, page.close_day.send("2026-11-24")).result == 5


def test_a_job_of_the_release_before_goes_on_under_new_names(site: Site, page: Any) -> None:
    message = page.fulfil.send(7)
    site.worker.run(message)
    site.change(message, actor="'renamed'")
    site.execute("DELETE FROM understudy_steps WHERE name = 'ship'")

    assert finished(site, message).result == f"charge 7 ({message.message_id}:charge)"
    assert [name for name, _ in described(site, message)] == ["charge", "cool off"]
