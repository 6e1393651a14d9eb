"""What comes in, checked: strict JSON, then the shape a Pydantic model states.

400 is for what is not JSON, 413 for too much of it, 415 for another kind of body and 422, with a
pointer per field, for JSON of the wrong shape.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn, TypeVar

from flask import request
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from .problems import Problem

#: Limits of one body; an application's MAX_CONTENT_LENGTH beats the first (requirement C12).
MAX_BYTES = 262_144
MAX_DEPTH = 32
MAX_NODES = 10_000
MAX_DIGITS = 32
MAX_SAFE_INTEGER = 2**53
MAX_REPORTED_ERRORS = 20


class Body(BaseModel):
    """Base of request bodies and queries: camelCase outside, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


#: A parameter of a query that can be given several times.
Many = Annotated[list[str], BeforeValidator(lambda given: given if isinstance(given, list) else [given])]

B = TypeVar("B", bound=BaseModel)


def read_body(model: type[B]) -> B:
    """Return the request's JSON body as `model`.

    Raises:
        Problem: 400, 413, 415 or 422, as the module says.
    """
    document = read_json()
    return _checked(document, lambda: model.model_validate_json(json.dumps(document), strict=True))


def read_query(model: type[B]) -> B:
    """Return the query string as `model`; a name given twice is a list.

    Raises:
        Problem: 422 with a pointer per parameter.
    """
    values: dict[str, Any] = {}
    for name, given in request.args.lists():
        for text in (name, *given):
            if (wrong := _wrong_in(text)) is not None:
                raise Problem(400, "The query cannot be accepted", f"It was refused: {wrong}.")
        values[name] = given[0] if len(given) == 1 else given
    return validated(model, values)


def validated(model: type[B], document: Any) -> B:
    """Return `document` as `model`, or raise the 422 that names each wrong field."""
    return _checked(document, lambda: model.model_validate(document))


def _checked(document: Any, validate: Callable[[], B]) -> B:
    try:
        return validate()
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise Problem(
            422,
            "The request has fields that cannot be accepted",
            f"{len(found)} field(s) of the request are wrong; see 'errors'.",
            errors=[
                {"pointer": pointer(_place(document, entry)), "detail": entry["msg"].removeprefix("Value error, ")}
                for entry in found[:MAX_REPORTED_ERRORS]
            ],
        ) from None


def read_json() -> Any:
    """Return the request's body as strict JSON: UTF-8, no duplicate names, no NaN, bounded."""
    if request.mimetype != "application/json":
        raise Problem(415, detail="Send the body as 'Content-Type: application/json'.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, detail="Send the body uncompressed.")
    raw = read_raw()
    if not raw.strip():
        _malformed("the body is empty")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        _malformed("the body is not UTF-8")
    return parse_json(text)


def parse_json(text: str) -> Any:
    """Return what a text says as strict JSON: no duplicate names, no NaN, bounded.

    Raises:
        Problem: 400, it is none.
    """
    try:
        document = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=lambda name: _malformed(f"{name} is no JSON number"),
            parse_int=_integer,
            parse_float=_float,
        )
    except RecursionError:
        _malformed(f"the body is nested deeper than {MAX_DEPTH} levels")
    except ValueError as error:
        _malformed(str(error))
    _check_document(document)
    return document


def read_raw() -> bytes:
    """Return the body, whole; one of more than the limit is refused.

    The limit is the application's `MAX_CONTENT_LENGTH`, else `MAX_BYTES`. Werkzeug cuts a body without a Content-Length
    at the limit, without a word.

    Raises:
        Problem: 400, it does not come to its end; 413.
    """
    if request.max_content_length is None:
        request.max_content_length = MAX_BYTES
    limit = request.max_content_length
    try:
        raw = request.get_data()
    except RequestEntityTooLarge:
        raise _too_large(limit) from None
    except HTTPException:
        raise
    except Exception as problem:  # each server has its own for chunks that are none, and for connections that are cut
        raise Problem(400, detail="The body could not be read to its end.") from problem
    if request.content_length is not None and len(raw) < request.content_length:
        raise Problem(400, detail=f"The body ends after {len(raw)} of {request.content_length} bytes.")
    if request.content_length is None and len(raw) >= limit and request.environ["wsgi.input"].read(1):
        raise _too_large(limit)
    return raw


def _too_large(limit: int | None) -> Problem:
    return Problem(
        413, detail=f"The body has more than the {limit} bytes that are accepted. Send less at a time, or references."
    )


def _malformed(what: str) -> NoReturn:
    raise Problem(400, "The body is not JSON that can be accepted", f"It was refused: {what}.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        _malformed("an object has the same name twice")
    return result


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS or abs(int(digits)) > MAX_SAFE_INTEGER:
        _malformed("an integer is beyond 2^53")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        _malformed("a number is beyond the range of a double")
    return value


def _check_document(document: Any) -> None:
    """Walk the document without recursion: depth, number of nodes, text PostgreSQL can store."""
    nodes, stack = 0, [(document, 1)]
    while stack:
        value, depth = stack.pop()
        nodes += 1
        if depth > MAX_DEPTH:
            _malformed(f"the body is nested deeper than {MAX_DEPTH} levels")
        if nodes > MAX_NODES:
            _malformed(f"the body has more than {MAX_NODES} values")
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, list):
            stack.extend((item, depth + 1) for item in value)
        elif isinstance(value, dict):
            for name in value:
                _check_text(name)
            stack.extend((item, depth + 1) for item in value.values())


def _check_text(text: str) -> None:
    if (wrong := _wrong_in(text)) is not None:
        _malformed(wrong)


def _wrong_in(text: str) -> str | None:
    if "\x00" in text:
        return "a text has a NUL character"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "a text has half of a surrogate pair"
    return None


def _place(document: Any, entry: ErrorDetails) -> list[int | str]:
    """Return where an error is in the document: Pydantic also names the member of a union that it tried there."""
    place: list[int | str] = []
    value, parts = document, entry["loc"]
    for n, part in enumerate(parts):
        is_last = n == len(parts) - 1
        leads_on = _has(value, part) and (is_last or isinstance(value[part], dict | list))
        is_missing = is_last and entry["type"] == "missing"
        if not leads_on and not is_missing and (not isinstance(value, dict) or part in value.values()):
            continue  # the name of a member
        if _has(value, part):
            value = value[part]
        place.append(part)
    return place


def _has(value: Any, part: int | str) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and part < len(value)
    return isinstance(value, dict) and part in value


def pointer(location: Sequence[int | str]) -> str:
    """Return the JSON Pointer (RFC 6901) of a place in a document."""
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in location)
    return "".join(f"/{part[:100]}" for part in parts)
