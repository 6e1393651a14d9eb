"""What an actor takes, read from its signature."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from flask_understudy.errors import InvalidJob
from flask_understudy.signatures import check_payload, schema_of


class Opaque:
    pass


def plain(to: str, n: int = 0, *, when: datetime | None = None, kind: Literal["a", "b"] = "a") -> None: ...
def loose(first, second=None): ...  # type: ignore[no-untyped-def]
def greedy(to: str, **more: Any) -> None: ...
def opaque(thing: Opaque) -> None: ...
def unresolved(thing: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def actor(fn: Any) -> dramatiq.Actor[Any, Any]:
    return dramatiq.actor(fn, broker=StubBroker())


def test_a_schema_names_types_defaults_and_what_is_required() -> None:
    schema = schema_of(actor(plain))

    assert schema["required"] == ["to"]
    assert schema["properties"]["n"] == {"default": 0, "title": "N", "type": "integer"}
    assert schema["additionalProperties"] is False
    assert schema_of(actor(greedy))["additionalProperties"] is True


@pytest.mark.parametrize(
    ("fn", "payload"),
    [
        (plain, {"to": "x", "n": 3, "when": "2026-01-01T00:00:00Z", "kind": "b"}),
        (plain, {"to": "x"}),
        (loose, {"first": {"a": [1]}}),
        (greedy, {"to": "x", "anything": 1}),
        (opaque, {"thing": 1}),
        (unresolved, {"thing": 1}),
    ],
)
def test_what_fits_is_accepted(fn: Any, payload: dict[str, Any]) -> None:
    check_payload(actor(fn), payload)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ({}, "to: Field required"),
        ({"to": 1}, "to: Input should be a valid string"),
        ({"to": "x", "n": "3"}, "n: Input should be a valid integer"),
        ({"to": "x", "m": 3}, "m: Extra inputs are not permitted"),
        ({"to": "x", "when": "soon"}, "when: "),
        ({"to": "x", "kind": "c"}, "kind: Input should be 'a' or 'b'"),
        ({"to": "\ud800"}, "half of a character"),
    ],
)
def test_what_does_not_fit_is_named(payload: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidJob, match=text):
        check_payload(actor(plain), payload)


def test_names_in_camel_case_are_the_actor_s_own() -> None:
    @dramatiq.actor(broker=StubBroker())
    def send(report_id: int, line2_text: str = "", userId: str = "", **more: Any) -> None:
        """Takes names of both kinds."""

    given = {"reportId": 7, "line2Text": "x", "userId": "u", "somethingElse": 1}
    own = {"report_id": 7, "line2_text": "x", "userId": "u", "somethingElse": 1}
    assert check_payload(send, given) == check_payload(send, own) == own
    with pytest.raises(InvalidJob, match="report_id is there twice, also as reportId"):
        check_payload(send, {"reportId": 7, "report_id": 7})
    with pytest.raises(InvalidJob, match="report_id"):
        check_payload(send, {"reportID": 7})
