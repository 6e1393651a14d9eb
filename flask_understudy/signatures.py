"""What an actor takes, read from its signature: a JSON Schema to show, and a check of arguments by name."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import dramatiq
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.errors import PydanticUserError

from .encoding import encode
from .errors import InvalidJob

_NAMED = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}


def schema_of(actor: dramatiq.Actor[Any, Any]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an actor's arguments by name."""
    return _model(actor.fn).model_json_schema()


def check_payload(actor: dramatiq.Actor[Any, Any], payload: Mapping[str, Any]) -> None:
    """Refuse arguments by name that an actor does not take.

    Raises:
        InvalidJob: One is missing, unknown or of another type; names it.
    """
    try:
        _model(actor.fn).model_validate_json(encode(dict(payload), "The payload"), strict=True)
    except ValidationError as problem:
        wrong = "; ".join(
            f"{'.'.join(map(str, error['loc'])) or 'payload'}: {error['msg']}" for error in problem.errors()[:5]
        )
        raise InvalidJob(f"The payload does not fit {actor.actor_name}: {wrong}.") from None


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
