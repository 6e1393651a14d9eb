"""What an event is: its name, its version, its fields."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from pydantic import Field, SecretStr

from flask_understudy import Event
from flask_understudy.errors import ConfigError, InvalidEvent
from flask_understudy.events import declared, named, payload_of, read, schema_of

pytestmark = pytest.mark.requirement("B12", "V04")


class Colour(Enum):
    RED = "red"


class PaintDried(Event):
    wall: int
    colour: Colour = Colour.RED
    cost: Decimal = Decimal("1.10")
    on: date = date(2026, 2, 28)
    at: datetime = datetime(2026, 2, 28, tzinfo=UTC)
    coats: tuple[str, ...] = ()


class OldDoor(Event, name="door.opened"):
    id: int


class Door(Event, name="door.opened", version=2):
    door_id: int

    @classmethod
    def upcast(cls, payload: dict[str, Any], version: int) -> dict[str, Any]:
        return {"door_id": payload["id"]}


@pytest.mark.parametrize(
    ("class_name", "name"),
    [
        ("LeaveApproved2", "leave.approved2"),
        ("UserSignedUp", "user.signed.up"),
        ("PDFReady", "pdf.ready"),
        ("Closed", "closed"),
    ],
)
def test_a_name_is_made_of_the_words_of_the_class(class_name: str, name: str) -> None:
    made: Any = type(class_name, (Event,), {"__module__": __name__})

    assert (made.event_name, made.event_version) == (name, 1)


def test_a_class_says_its_name_and_version() -> None:
    assert (Door.event_name, Door.event_version) == ("door.opened", 2)
    assert named("door.opened") is Door
    assert [event for event in declared() if event.event_name == "door.opened"] == [Door]


@pytest.mark.parametrize("name", ["", "1st", "a b", ".a", "a..b", "a\n", "x" * 101, "naïve", 7])
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match="leave.approved"):
        type("Wrong", (Event,), {}, name=name)


@pytest.mark.parametrize("version", [0, -1, True, "2", 1.5])
def test_a_version_that_is_none_is_refused(version: Any) -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        type("Wrong", (Event,), {}, version=version)


def test_two_classes_of_one_name_and_version_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"Another and .*Door are both version 2 of the event 'door.opened'"):
        type("Another", (Event,), {"__module__": __name__}, name="door.opened", version=2)

    assert named("door.opened") is Door


def test_the_same_class_made_anew_takes_its_place() -> None:
    def make() -> type[Event]:
        class Reloaded(Event):
            n: int

        return Reloaded

    make()
    newer = make()

    assert named("reloaded") is newer


def test_a_field_that_is_withheld_must_be_one() -> None:
    with pytest.raises(ConfigError, match="'ibna', which is no field"):
        type("Paid", (Event,), {"__annotations__": {"iban": str}}, sensitive=["ibna"])
    with pytest.raises(ConfigError, match="a list of names"):
        type("Paid", (Event,), {"__annotations__": {"iban": str}}, sensitive="iban")


def test_a_field_cannot_have_the_name_of_what_every_event_has() -> None:
    with pytest.raises((ConfigError, NameError), match="event_name"):
        type("Shadow", (Event,), {"__annotations__": {"event_name": str}})


def test_an_event_comes_back_from_json_as_it_was() -> None:
    event = PaintDried(wall=7, coats=("first", "second"))

    payload = payload_of(event)

    assert payload["cost"] == "1.10"
    assert read(PaintDried, payload) == event


class Secretive(Event):
    key: SecretStr


class Partial(Event):
    shown: int
    hidden: int = Field(default=0, exclude=True)


class Number(Event):
    value: float


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (Secretive(key=SecretStr("x")), "'key'"),
        (Partial(shown=1, hidden=2), "'hidden'"),
        (PaintDried.model_construct(wall="north"), "wall"),
        (PaintDried.model_construct(), "wall"),
        (PaintDried.model_construct(wall=object()), "JSON"),
    ],
)
def test_what_json_cannot_carry_is_refused(event: Event, field: str) -> None:
    with pytest.raises(InvalidEvent, match=field):
        payload_of(event)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"(?i)json|number|nan|inf"):
        payload_of(Number(value=value))


@pytest.mark.parametrize(
    ("payload", "wrong"),
    [
        ({}, [("wall",)]),
        ({"wall": "north"}, [("wall",)]),
        ({"wall": 1, "colour": "blue", "paint": 1}, [("colour",), ("paint",)]),
    ],
)
def test_fields_that_do_not_fit_are_named(payload: dict[str, Any], wrong: list[tuple[str]]) -> None:
    with pytest.raises(InvalidEvent, match="'paint.dried'") as caught:
        read(PaintDried, payload)

    assert [where for where, _ in caught.value.wrong] == wrong


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(InvalidEvent, match="Did you mean 'paint.dried'"):
        named("paint.died")


def test_an_older_version_is_brought_up() -> None:
    assert read(Door, {"id": 7}, 1) == Door(door_id=7)
    assert read(Door, {"door_id": 7}, 2) == read(Door, {"door_id": 7}) == Door(door_id=7)


def test_a_version_that_nobody_brings_up_is_refused() -> None:
    class Window(Event, version=3):
        id: int

    with pytest.raises(InvalidEvent, match=r"no upcast.*version 2"):
        read(Window, {"id": 7}, 2)


def test_a_newer_version_than_is_known_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="up to version 2, and this is version 3"):
        read(Door, {"door_id": 7}, 3)


def test_an_upcast_that_fails_is_an_error_about_the_event() -> None:
    with pytest.raises(InvalidEvent, match=r"upcast of 'door.opened' from version 1 to 2 failed: KeyError\('id'\)"):
        read(Door, {}, 1)


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Door(door_id=1).door_id = 2  # type: ignore[misc]


def test_the_schema_names_the_fields() -> None:
    schema = schema_of(PaintDried)

    assert schema["required"] == ["wall"]
    assert schema["additionalProperties"] is False
