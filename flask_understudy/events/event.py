"""What an event is: a fact with a name, a version and typed fields."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticSerializationError

from ..encoding import encode
from ..errors import ConfigError, InvalidEvent

LONGEST_NAME = 100

_NAME = re.compile(r"[A-Za-z][\w-]*([./:][\w-]+)*", re.ASCII)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9_]*|[a-z0-9_]+")

E = TypeVar("E", bound="Event")

_declared: dict[tuple[str, int], type[Event]] = {}


class Event(BaseModel):
    """Base of all events. A subclass is a kind of event; its fields are Pydantic's.

    A subclass may say, beside its bases:

    - `name`: stable, `domain.happened`; default the class's words, so that `LeaveApproved` is `leave.approved`;
    - `version`: of its fields, 1 or more; default 1. Raise it when they change, and write `upcast`;
    - `api`: whether it may be published over HTTP; default no;
    - `sensitive`: names of fields that are never shown, or True for all.

    Attributes:
        event_name: Its name.
        event_version: Its version.
        event_api: Whether it may be published over HTTP.
        event_sensitive: What is never shown of it.

    Raises:
        ConfigError: The name or version is none, or another class has both.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    event_name: ClassVar[str] = ""
    event_version: ClassVar[int] = 1
    event_api: ClassVar[bool] = False
    event_sensitive: ClassVar[Collection[str] | bool] = ()

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        version: int = 1,
        api: bool = False,
        sensitive: Collection[str] | bool = (),
        **config: Any,
    ) -> None:
        super().__init_subclass__(**config)
        if name is None:
            name = ".".join(_WORDS.findall(cls.__name__)).lower()
        where = f"{cls.__module__}.{cls.__qualname__}"
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            raise ConfigError(
                f"{where}: name is {name!r}; an event's name is such as 'leave.approved' or 'leave/approved', of "
                f"{LONGEST_NAME} characters at the most."
            )
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise ConfigError(f"{where}: version is {version!r}; it takes a whole number, 1 or more.")
        if isinstance(sensitive, str):
            raise ConfigError(f"{where}: sensitive is {sensitive!r}; it takes a list of names of fields, or True.")
        cls.event_name, cls.event_version = name, version
        cls.event_api, cls.event_sensitive = bool(api), sensitive

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Make the class known by its name and version; the same class made anew, as by a reload, takes its place."""
        key = (cls.event_name, cls.event_version)
        known = _declared.get(key)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ConfigError(
                f"{cls.__module__}.{cls.__qualname__} and {known.__module__}.{known.__qualname__} are both version "
                f"{key[1]} of the event {key[0]!r}; give one of them another name, or a higher version."
            )
        if taken := sorted(name for name in cls.model_fields if name.startswith("event_") and hasattr(Event, name)):
            raise ConfigError(f"{cls.__qualname__}: {taken[0]!r} cannot be a field, as every event has it already.")
        if not isinstance(cls.event_sensitive, bool):
            for field in cls.event_sensitive:
                if field not in cls.model_fields:
                    raise ConfigError(f"{cls.__qualname__}: sensitive names {field!r}, which is no field of it.")
        _declared[key] = cls

    @classmethod
    def upcast(cls, payload: dict[str, Any], version: int) -> dict[str, Any]:
        """Return the fields of an older version as this version has them; for subclasses to write.

        Args:
            payload: The fields as they were published, plain JSON values.
            version: The version they are of, below this class's own.

        Raises:
            InvalidEvent: This version cannot be made of that one; what this base says of all.
        """
        raise InvalidEvent(
            f"{cls.event_name!r} has version {cls.event_version} now, and {cls.__qualname__} has no upcast(payload, "
            f"version) that takes version {version}."
        )


def read(event: type[E], payload: Mapping[str, Any], version: int | None = None, *, strict: bool | None = None) -> E:
    """Return the event that plain JSON values stand for.

    Args:
        event: The class.
        payload: Its fields.
        version: The version they are of; default the class's own.
        strict: Whether a number in quotes is no number, as Pydantic has it; default as the class says.

    Raises:
        InvalidEvent: They do not fit, or are of a version that cannot be read.
    """
    if not isinstance(payload, Mapping):
        raise InvalidEvent(f"The fields of {event.event_name!r} are a mapping of names, and {payload!r:.80} was given.")
    given = dict(payload)
    if version is not None and version > event.event_version:
        raise InvalidEvent(
            f"{event.event_name!r} is known here up to version {event.event_version}, and this is version {version}."
        )
    if version is not None and version < event.event_version:
        given = _upcast(event, given, version)
    try:
        return event.model_validate_json(encode(given, f"The event {event.event_name!r}"), strict=strict)
    except ValidationError as problem:
        raise _misfit(event, problem) from None


def _upcast(event: type[Event], payload: dict[str, Any], version: int) -> dict[str, Any]:
    try:
        return dict(event.upcast(payload, version))
    except InvalidEvent:
        raise
    except Exception as problem:
        raise InvalidEvent(
            f"The upcast of {event.event_name!r} from version {version} to {event.event_version} failed: {problem!r}."
        ) from problem


def payload_of(event: Event) -> dict[str, Any]:
    """Return an event's fields as plain JSON values, from which `read` makes the same event.

    Raises:
        InvalidEvent: That cannot be, as a field holds what it may not or what JSON cannot carry.
    """
    kind = type(event)
    try:
        found = event.model_dump(mode="json", warnings=False)
    except (PydanticSerializationError, AttributeError) as problem:
        raise InvalidEvent(f"The event {kind.event_name!r} cannot be stored as JSON: {problem}.") from None
    again = read(kind, found)
    for name in kind.model_fields:
        if getattr(again, name) != getattr(event, name, None):
            raise InvalidEvent(
                f"The event {kind.event_name!r} does not come back from JSON as it was: the field {name!r} changes. "
                "Publish what JSON can carry, such as texts, numbers and ids.",
                [((name,), "It does not come back from JSON as it was.")],
            )
    return found


def _misfit(cls: type[Event], problem: ValidationError) -> InvalidEvent:
    wrong = [(error["loc"], error["msg"]) for error in problem.errors(include_url=False, include_input=False)]
    told = "; ".join(f"{'.'.join(map(str, where)) or 'the event'}: {why}" for where, why in wrong[:5])
    return InvalidEvent(f"It is no event {cls.event_name!r}: {told}.", wrong)


def declared() -> list[type[Event]]:
    """Return the newest version of each event that this process knows, by name."""
    newest = {name: _declared[name, version] for name, version in sorted(_declared)}
    return list(newest.values())


def named(name: str) -> type[Event]:
    """Return the newest version of an event.

    Raises:
        InvalidEvent: This process knows none by that name; names the nearest.
    """
    if not isinstance(name, str):
        raise InvalidEvent(f"An event's name is a text, and {name!r:.80} was given.")
    newest = {event.event_name: event for event in declared()}
    if name in newest:
        return newest[name]
    near = difflib.get_close_matches(name, newest, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else f" There are: {', '.join(sorted(newest)) or 'none'}."
    raise InvalidEvent(f"No event is named {name[:LONGEST_NAME]!r}.{hint}")


def schema_of(event: type[Event]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an event's fields."""
    return event.model_json_schema(by_alias=False)


__all__ = ["Event", "declared", "named", "payload_of", "read", "schema_of"]
