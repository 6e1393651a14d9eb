"""A form for an actor's arguments, made from their JSON Schema, and what was written into it as JSON again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..contrib.api import Problem
from ..contrib.api.bodies import parse_json
from ..redaction import SECRET
from .words import pretty

#: What a form's field for an argument is called.
PREFIX = "arg:"


@dataclass(frozen=True, slots=True)
class Field:
    """One argument.

    Attributes:
        name: The parameter's.
        kind: `text`, `secret`, `number`, `choice` or `json`.
        is_required: Whether the actor has no default for it.
        hint: What it takes, in words.
        default: What the actor takes when nothing is written, as JSON; empty = it has no default.
        choices: What can be chosen, as JSON.
        value: What was written.
        takes_text: Whether a text is among what it takes, so that what is no JSON is one.
    """

    name: str
    kind: str
    is_required: bool
    hint: str
    default: str = ""
    choices: tuple[str, ...] = ()
    value: str = ""
    takes_text: bool = False


def fields_of(schema: Mapping[str, Any], written: Mapping[str, str]) -> list[Field]:
    """Return a field for each property of an object's schema.

    Args:
        schema: As `signatures.schema_of` makes it.
        written: A form's values, to be shown again.
    """
    required = schema.get("required", [])
    return [
        _field(name, found, name in required, written.get(PREFIX + name, ""))
        for name, found in schema.get("properties", {}).items()
    ]


def payload_of(schema: Mapping[str, Any], written: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments that a form says; what is empty and has a default is left out.

    What is no value of its kind stays the text that it is, for the actor's own check to refuse.

    Raises:
        Problem: 422, what stands in a field for JSON is none.
    """
    payload: dict[str, Any] = {}
    for field in fields_of(schema, written):
        if field.value == "" and not (field.is_required and field.kind in {"text", "secret"}):
            continue
        payload[field.name] = field.value if field.kind in {"text", "secret"} else _value(field)
    return payload


def _value(field: Field) -> Any:
    try:
        return parse_json(field.value)
    except Problem as problem:
        if field.kind == "json" and not field.takes_text:
            raise Problem(422, detail=f"{field.name}: what stands there is no JSON. {problem.detail}") from None
        return field.value


def _field(name: str, schema: Mapping[str, Any], is_required: bool, value: str) -> Field:
    kinds = _kinds(schema)
    choices: tuple[str, ...] = ()
    if schema.get("enum"):
        kind, choices = "choice", tuple(pretty(choice) for choice in schema["enum"])
    elif kinds == {"boolean"}:
        kind, choices = "choice", ("true", "false")
    elif kinds == {"string"}:
        kind = "secret" if SECRET.search(name) else "text"
    elif kinds and kinds <= {"integer", "number"}:
        kind = "number"
    else:
        kind = "json"
    default = "" if is_required or "default" not in schema else pretty(schema["default"])
    hint = schema.get("format") or " or ".join(sorted(kinds)) or "any JSON"
    return Field(name, kind, is_required, hint, default, choices, value, "string" in kinds)


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    """Return the JSON types that a schema names, null aside: a field that is left empty says as much."""
    if "anyOf" in schema:
        return set().union(*(_kinds(one) for one in schema["anyOf"]))
    kind = schema.get("type", "object" if "$ref" in schema else None)
    return {kind} - {"null"} if isinstance(kind, str) else set()
