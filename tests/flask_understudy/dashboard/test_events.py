"""Events: who heard what was published, trying one, and publishing one again."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest

from tests.flask_understudy.dashboard.conftest import PREFIX, Person, fields_of, signed_in
from tests.flask_understudy.dashboard.test_jobs import audited
from tests.flask_understudy.dashboard.test_pages import HOSTILE
from tests.flask_understudy.rest.conftest import Api
from tests.flask_understudy.rest.test_events import ParcelLost, listen, waiting_for

TYPE = "/events/types/parcel.sent"


def published(api: Api, **payload: Any) -> str:
    return str(api.post("/events", 202, json={"name": "parcel.sent", "payload": {"parcel_id": 1, **payload}})["id"])


def row(page: str, id: str) -> str:
    return next(part for part in re.findall(r"<tr data-row>.*?</tr>", page, re.S) if id in part)


def test_an_empty_log_says_how_to_publish(olga: Person) -> None:
    assert "jobs.publish" in olga.see("/events")
    assert "None was published yet" in olga.see(TYPE)


@pytest.mark.requirement("L01", "B12")
def test_the_log_says_what_was_carried_and_how_many_jobs_it_started(olga: Person) -> None:
    alone = published(olga.api, parcel_id=101)
    assert "nobody listens" in row(olga.see("/events"), alone)
    assert "Nobody listens to parcel.sent." in olga.see(f"/events/{alone}")

    listen(olga.api)
    one, two = published(olga.api, address="Elm 1"), published(olga.api, parcel_id=101)

    page = olga.see("/events")
    assert "no job" in row(page, alone) and "nobody listens" not in row(page, alone)
    assert "1 job<" in row(page, one) and "2 jobs<" in row(page, two)
    assert "&#34;parcel_id&#34;: 101" in row(page, two)
    assert "Elm 1" not in page  # it is sensitive
    shown = olga.see(f"/events/{two}")
    jobs = [job.id for job in olga.site.all_jobs() if job.event_id == two]
    assert len(jobs) == 2 and all(f'href="{PREFIX}/jobs/{job}"' in shown for job in jobs)


@pytest.mark.requirement("B12", "B14")
def test_a_run_that_waits_for_an_event_hears_it(olga: Person) -> None:
    api = olga.api
    run = waiting_for(api, 7)
    missed = published(api, parcel_id=1)
    page = olga.see("/events")
    assert "nobody listens" not in row(page, missed) and "no job" in row(page, missed)
    kind = next(
        part for part in re.findall(r"<tr data-row>.*?</tr>", page, re.S) if TYPE in part and "Version" not in part
    )
    assert "1 run waits for it" in kind and "nobody listens" not in kind
    for path in (TYPE, f"/events/{missed}"):
        assert "Nobody listens" not in olga.see(path)
    assert "1 run waits for it" in olga.see(TYPE)

    answer = olga.send(TYPE, {"csrf": olga.csrf(), "payload": '{"parcel_id": 7}'})

    shown = olga.see(answer.headers["Location"].removeprefix(PREFIX))
    assert "It is published; 1 run goes on." in shown
    assert f'href="{PREFIX}/runs/{run}"' in shown and "Nobody listens" not in shown
    page = olga.see("/events")
    assert "1 run went on" in row(page, answer.headers["Location"])
    assert "nobody listens" in row(page, missed)  # now nobody waits any more


def test_events_of_one_kind_are_listed_a_page_at_a_time(sqlite_api: Api) -> None:
    olga = signed_in(sqlite_api)
    ids = [published(sqlite_api, parcel_id=n) for n in range(51)]
    lost = sqlite_api.site.jobs.publish(ParcelLost(parcel_id=1), tenant="acme").id

    first = olga.see("/events?name=parcel.sent")
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following is not None
    second = olga.see(html.unescape(following[1]).removeprefix(PREFIX))

    listed = re.findall(rf'href="{PREFIX}/events/([0-9a-f-]{{36}})"', first + second)
    assert sorted(listed) == sorted(ids)
    assert lost in olga.see("/events")


@pytest.mark.requirement("B12")
def test_a_kind_is_described_with_its_fields_and_who_listens(olga: Person) -> None:
    assert "Nobody listens." in olga.see(TYPE)
    listen(olga.api)
    page = olga.see(TYPE)
    assert "A parcel is on its way." in page and "version 2" in page
    assert "on:parcel.sent:tell" in page and "on:parcel.sent:insure" in page
    assert "list of integer" in page and "parcel_id" in page
    assert "Only the code publishes it." in olga.see("/events/types/parcel.lost")


@pytest.mark.requirement("V02")
def test_a_sample_is_published_and_leads_to_the_event(olga: Person) -> None:
    listen(olga.api)
    page = olga.see(TYPE)
    text = re.search(r"<textarea[^>]*>(.*?)</textarea>", page, re.S)
    assert text is not None
    payload = json.loads(html.unescape(text[1]))
    assert payload == {"parcel_id": 0, "address": "", "token": "", "lines": []}

    order = {"csrf": olga.csrf(), "payload": json.dumps({**payload, "parcel_id": 101})}
    answer = olga.send(TYPE, order)

    [event] = olga.api.get("/events")["data"]
    assert answer.headers["Location"] == f"{PREFIX}/events/{event['id']}"
    assert "It is published; 2 jobs hear it." in olga.see(f"/events/{event['id']}")
    assert audited(olga.api) == [("event.publish", event["id"])]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ("{", "The fields are no JSON."),
        ("[]", "payload: Input should be a valid dictionary"),
        ('{"parcel_id": "7"}', "payload/parcel_id: Input should be a valid integer"),
        ("", "payload/parcel_id: Field required"),
        ('{"parcel_id": 1, "colour": "red"}', "payload/colour"),
    ],
)
def test_what_does_not_fit_is_said_beside_what_was_typed(sqlite_api: Api, payload: str, said: str) -> None:
    olga = signed_in(sqlite_api)
    page = olga.send(TYPE, {"csrf": olga.csrf(), "payload": payload}, 422).text
    assert 'role="alert"' in page and said in html.unescape(page)
    assert html.escape(payload).replace("&quot;", "&#34;") + "</textarea>" in page
    assert sqlite_api.get("/events")["data"] == []


def test_what_only_the_code_publishes_is_refused(olga: Person) -> None:
    page = olga.send("/events/types/parcel.lost", {"csrf": olga.csrf(), "payload": '{"parcel_id": 1}'}, 422)
    assert "cannot be published through the API" in page.text
    olga.send("/events/types/none", {"csrf": olga.csrf(), "payload": "{}"}, 404)


@pytest.mark.requirement("O01")
def test_an_event_is_published_again_for_one_listener(olga: Person) -> None:
    listen(olga.api)
    id = published(olga.api, parcel_id=101)

    answer = olga.press(olga.see(f"/events/{id}"), "replay_event", to="on:parcel.sent:tell")

    new = answer.headers["Location"].rpartition("/")[2]
    assert new != id
    assert [job.actor for job in olga.site.all_jobs() if job.event_id == new] == ["on:parcel.sent:tell"]
    assert f"{PREFIX}/events/{id}" in olga.see(f"/events/{new}")
    olga.press(olga.see(f"/events/{id}"), "replay_event")
    assert len(olga.site.all_jobs()) == 5
    assert audited(olga.api)[1:] == [("event.replay", id)] * 2


@pytest.mark.requirement("P03", "P04", "P05")
def test_another_tenant_sees_and_repeats_nothing(operator: Person) -> None:
    id = published(operator.api)
    eve = signed_in(operator.api, tenant="birch")
    assert id not in eve.see("/events") and id not in eve.see(TYPE)
    eve.see(f"/events/{id}", 404)
    eve.send("/do/replay_event", {"csrf": eve.csrf(), "event_id": id})
    eve.send(TYPE, {"csrf": eve.csrf(), "payload": '{"parcel_id": 1}', "tenant": "acme"}, 403)
    assert len(operator.api.get("/events")["data"]) == 1
    operator.send(TYPE, {"csrf": operator.csrf(), "payload": '{"parcel_id": 1}', "tenant": "birch"})
    assert "birch" in operator.see("/events") and "parcel.sent" in eve.see("/events").partition("<h2>Kinds")[0]


@pytest.mark.parametrize("scopes", ["read", "read payload"])
def test_who_may_not_act_has_no_forms_and_is_refused(api: Api, scopes: str) -> None:
    id = published(api, parcel_id=4711)
    reader = signed_in(api, scopes)
    for path in ("/events", f"/events/{id}", TYPE):
        page = reader.see(path)
        assert "/do/" not in page and "<textarea" not in page
        assert ("4711" in page) == ("payload" in scopes)
    csrf = fields_of(reader.see(""))["csrf"]
    reader.send(TYPE, {"csrf": csrf, "payload": '{"parcel_id": 1}'}, 403)
    reader.send("/do/replay_event", {"csrf": csrf, "event_id": id}, 403)
    assert len(api.get("/events")["data"]) == 1


def test_hostile_texts_are_shown_and_do_nothing(olga: Person) -> None:
    api = olga.api
    body = {"name": "parcel.sent", "payload": {"parcel_id": 1, "lines": []}, "correlationId": HOSTILE}
    id = api.post("/events", 202, json=body)["id"]
    olga.send(TYPE, {"csrf": "forged", "payload": "{}"}, 403)
    typed = olga.send(TYPE, {"csrf": olga.csrf(), "payload": f"</textarea>{HOSTILE}"}, 422).text
    for page in (olga.see("/events"), olga.see(f"/events/{id}"), typed, olga.see(f"/events?name={HOSTILE[:30]}")):
        assert "<script>alert" not in page and "<img src=x" not in page and ">49<" not in page
    assert "&lt;script&gt;" in olga.see(f"/events/{id}")
