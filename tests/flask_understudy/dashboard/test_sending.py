"""Types, and sending one to try it."""

from __future__ import annotations

import html
import re
from typing import Any, Literal

import pytest

from flask_understudy.contrib.api import Problem
from flask_understudy.dashboard.forms import fields_of, payload_of
from flask_understudy.signatures import schema_of
from tests.flask_understudy.conftest import MakeSite
from tests.flask_understudy.dashboard.conftest import PREFIX, Person, signed_in
from tests.flask_understudy.dashboard.test_pages import HOSTILE
from tests.flask_understudy.dashboard.test_workers import audited
from tests.flask_understudy.rest.conftest import Api, open_api


@pytest.fixture
def many_kinds(sqlite_api: Api) -> dict[str, Any]:
    """The schema of an actor that takes one argument of each kind."""

    @sqlite_api.site.jobs.actor(api=True)
    def many(
        name: str,
        n: int,
        share: float = 0.5,
        loud: bool = False,
        how: Literal["fast", "slow"] = "fast",
        password: str = "",
        rows: list[int] | None = None,
        note: str | None = None,
        to: str | list[str] = "",
    ) -> None:
        pass

    return schema_of(many)


def test_each_argument_has_a_field_of_its_kind(many_kinds: dict[str, Any]) -> None:
    kinds = {field.name: (field.kind, field.is_required) for field in fields_of(many_kinds, {})}
    assert kinds == {
        "name": ("text", True),
        "n": ("number", True),
        "share": ("number", False),
        "loud": ("choice", False),
        "how": ("choice", False),
        "password": ("secret", False),
        "rows": ("json", False),
        "note": ("text", False),
        "to": ("json", False),
    }


def test_what_is_written_becomes_json_of_its_kind(many_kinds: dict[str, Any]) -> None:
    written = {
        "arg:name": "42",
        "arg:n": "42",
        "arg:share": "0.25",
        "arg:loud": "true",
        "arg:how": '"slow"',
        "arg:rows": "[1, 2]",
        "arg:note": "",
        "arg:unknown": "x",
    }
    payload = {"name": "42", "n": 42, "share": 0.25, "loud": True, "how": "slow", "rows": [1, 2]}
    assert payload_of(many_kinds, written) == payload
    assert payload_of(many_kinds, {}) == {"name": ""}
    assert payload_of(many_kinds, {"arg:n": "many"})["n"] == "many"
    assert payload_of(many_kinds, {"arg:to": "ada@example.com"})["to"] == "ada@example.com"
    assert payload_of(many_kinds, {"arg:to": '["ada@example.com"]'})["to"] == ["ada@example.com"]
    with pytest.raises(Problem, match="no JSON"):
        payload_of(many_kinds, {"arg:rows": "[1, 2"})


def test_types_are_listed_and_described(olga: Person) -> None:
    page = olga.see("/types")
    assert "work" in page and "broken" in page and "Not for the API." in page
    assert "broken" not in olga.see("/types?q=WOR")
    assert "No type's name" in html.unescape(olga.see("/types?q=nothing"))
    assert "Nobody has described it" in olga.see("/types/work")
    assert "Not for the API." in olga.see("/types/private")
    olga.see("/types/nothing", 404)


def test_defaults_say_where_they_come_from(make_site: MakeSite, sqlite_ledger: str) -> None:
    policies = {"email": {"priority": 7, "time_limit": 9000}}
    api = open_api(make_site(sqlite_ledger, UNDERSTUDY_QUEUES=policies, QUEUE_MAX_RETRIES=5))

    @api.site.jobs.actor(queue_name="email", actor_name="own", priority=1, time_limit=2000, fallback="sync")
    def own() -> None:
        pass

    assert api.get("/types/own")["origins"] == {
        "priority": "actor",
        "maxAttempts": "setting",
        "timeoutMs": "actor",
        "fallback": "actor",
    }
    assert api.get("/types/work")["origins"] == {
        "priority": "queue",
        "maxAttempts": "setting",
        "timeoutMs": "queue",
        "fallback": "setting",
    }
    assert api.get("/types/broken")["origins"]["maxAttempts"] == "actor"
    assert api.get("/types/broken")["origins"]["priority"] == "library"
    assert "says the queue" in signed_in(api).see("/types/work")


def sent(person: Person, fields: dict[str, str]) -> dict[str, Any]:
    """Send a job from the page of `work`; return it as the API shows it."""
    answer = person.send("/types/work", {"csrf": person.csrf("/types/work"), **fields})
    found = re.fullmatch(rf"{PREFIX}/jobs/([0-9a-f-]+)", answer.headers["Location"])
    assert found is not None
    job: dict[str, Any] = person.api.get(f"/{found[1]}")
    return job


def test_a_job_is_sent_from_the_fields(olga: Person) -> None:
    job = sent(olga, {"arg:to": "ada@example.com", "arg:n": "7", "arg:token": "", "delay": "60000", "priority": "-5"})
    assert (job["type"], job["tags"], job["state"], job["priority"]) == ("work", ["test"], "delayed", -5)
    assert job["payload"] == {"to": "ada@example.com", "n": 7}
    assert "It is sent." in olga.see(f"/jobs/{job['id']}")
    assert audited(olga) == [("job.send", job["id"])]


def test_a_job_is_sent_as_json(olga: Person) -> None:
    assert sent(olga, {"payload": '{"to": "ada@example.com"}'})["payload"] == {"to": "ada@example.com"}
    assert sent(olga, {"payload": ""})["payload"] == {}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"arg:n": "many"}, "n: Input should be a valid integer"),
        ({"payload": '{"to": 1}'}, "to: Input should be a valid string"),
        ({"payload": '{"to": '}, "JSON"),
        ({"payload": "[1]"}, "one JSON object"),
        ({"payload": '{"n": NaN}'}, "NaN"),
        ({"payload": '{"nothing": 1}'}, "nothing"),
        ({"delay": "-1"}, "delay: "),
        ({"priority": "high"}, "priority: "),
    ],
    ids=["integer", "string", "open", "list", "nan", "unknown", "delay", "priority"],
)
def test_what_is_refused_is_shown_again_and_sends_nothing(sqlite_api: Api, fields: dict[str, str], said: str) -> None:
    olga = signed_in(sqlite_api)
    answer = olga.browser.post(f"{PREFIX}/types/work", data={"csrf": olga.csrf(), **fields})
    page = html.unescape(answer.text)
    assert 400 <= answer.status_code < 500 and 'role="alert"' in page and said in page
    assert all(value in page for name, value in fields.items())
    assert olga.site.all_jobs() == [] and audited(olga) == []


def test_a_secret_that_was_written_is_not_shown_again(olga: Person) -> None:
    form = {"csrf": olga.csrf(), "arg:token": "s3cret-value", "arg:n": "many"}
    assert "s3cret-value" not in olga.send("/types/work", form, 422).text


def test_what_the_api_may_not_send_has_no_form(olga: Person) -> None:
    assert "api=True" in olga.see("/types/private") and "Send</button>" not in olga.see("/types/private")
    olga.send("/types/private", {"csrf": olga.csrf()}, 422)
    assert olga.site.all_jobs() == []


def test_who_may_not_send_has_no_form_and_is_refused(api: Api) -> None:
    reader = signed_in(api, "read payload operate")
    assert "Send</button>" not in reader.see("/types/work")
    reader.send("/types/work", {"csrf": reader.csrf()}, 403)
    olga = signed_in(api)
    olga.send("/types/work", {"csrf": "forged"}, 403)
    assert api.site.all_jobs() == []


def test_hostile_texts_are_shown_and_do_nothing(olga: Person) -> None:
    @olga.site.jobs.actor(actor_name="odd", api=True, description=HOSTILE)
    def odd(text: str = HOSTILE, n: int = 0) -> None:
        pass

    shown = olga.send("/types/odd", {"csrf": olga.csrf(), "arg:text": HOSTILE, "arg:n": HOSTILE}, 422).text
    for page in (olga.see("/types"), olga.see("/types/odd"), shown):
        assert "<script>alert" not in page and "<img src=x" not in page and ">49<" not in page


def test_browsers_are_told_which_fields_must_be_filled_and_an_empty_text_can_be_sent(sqlite_api: Api) -> None:
    @sqlite_api.site.jobs.actor(actor_name="needy", api=True)
    def needy(name: str, password: str, n: int, note: str = "") -> None:
        pass

    olga = signed_in(sqlite_api)
    page = olga.see("/types/needy")

    fields = {name: tag for tag, name in re.findall(r'(<input[^>]*name="arg:(\w+)"[^>]*>)', page)}
    assert {name: " required" in tag for name, tag in fields.items()} == {
        "name": True,
        "password": True,
        "n": True,
        "note": False,
    }
    written = {"csrf": olga.csrf(), "arg:name": "", "arg:password": "", "arg:n": "1"}
    olga.send("/types/needy", written)
    assert [job.kwargs for job in sqlite_api.site.all_jobs()] == [{"name": "", "password": "", "n": 1}]
