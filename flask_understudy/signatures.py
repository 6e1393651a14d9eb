"""What an actor takes, read from its signature: a JSON Schema to show, and a check of arguments by name."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import dramatiq
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.alias_generators import to_camel
from pydantic.errors import PydanticUserError

from .encoding import encode
from .errors import InvalidJob

_NAMED = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}


def schema_of(actor: dramatiq.Actor[Any, Any]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an actor's arguments by name."""
    return _model(actor.fn).model_json_schema()


def named_payload(actor: dramatiq.Actor[Any, Any], payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments by name as the actor calls them: `reportId` is its `report_id`, unless it has a `reportId` too.

    Raises:
        InvalidJob: One is there by both names.
    """
    parameters = inspect.signature(actor.fn).parameters
    own = {to_camel(name): name for name in parameters}
    named: dict[str, Any] = {}
    for given, value in payload.items():
        name = given if given in parameters else own.get(given, given)
        if name in named:
            raise InvalidJob(
                f"The payload does not fit {actor.actor_name}: {name} is there twice, also as {to_camel(name)}."
            )
        named[name] = value
    return named


def check_payload(actor: dramatiq.Actor[Any, Any], payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments by name as the actor calls them, and refuse what it does not take.

    Args:
        actor: The actor.
        payload: Its arguments; names may be in camelCase, as those of the HTTP API are.

    Raises:
        InvalidJob: One is missing, unknown, there twice or of another type; names it.
    """
    named = named_payload(actor, payload)
    try:
        _model(actor.fn).model_validate_json(encode(named, "The payload"), strict=True)
    except ValidationError as problem:
        wrong = "; ".join(
            f"{'.'.join(map(str, error['loc'])) or 'payload'}: {error['msg']}" for error in problem.errors()[:5]
        )
        raise InvalidJob(f"The payload does not fit {actor.actor_name}: {wrong}.") from None
    return named


@functools.cache
def _model(fn: Callable[..., Any]) -> type[BaseModel]:
    fn = inspect.unwrap(fn)
    parameters = inspect.signature(fn).parameters.values()
    try:
        hints = typing.get_type_hints(fn, include_extras=True)
    except Exception:  # whatever an annotation names that is not there: then anything is accepted for it
        hints = {}
    takes_more = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    fields: dict[str, Any] = {
        parameter.name: (
            hints.get(parameter.name, Any),
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for parameter in parameters
        if parameter.kind in _NAMED
    }
    name = "".join(part.capitalize() for part in fn.__name__.split("_"))
    try:
        return _made(name, fields, takes_more)
    except PydanticUserError:
        return _made(name, {key: (Any, default) for key, (_, default) in fields.items()}, takes_more)


def _made(name: str, fields: dict[str, Any], takes_more: bool) -> type[BaseModel]:
    config = ConfigDict(extra="allow" if takes_more else "forbid")
    model: type[BaseModel] = create_model(name, __config__=config, **fields)
    model.model_json_schema()  # what has no schema shows here
    return model
