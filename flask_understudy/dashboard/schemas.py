"""JSON Schemas for people: what fields there are, and a sample to begin with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

DEEPEST = 4

_SAMPLES: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False, "null": None}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an object.

    Attributes:
        name: Its name.
        kind: Its type in words.
        is_needed: Whether it has to be there.
        default: What stands there otherwise.
        description: What it says about itself.
    """

    name: str
    kind: str
    is_needed: bool
    default: Any
    description: str


def fields_of(schema: dict[str, Any]) -> list[Field]:
    """Return the fields of an object's schema."""
    needed = schema.get("required", ())
    return [
        Field(name, _kind(field), name in needed, field.get("default"), str(field.get("description", "")))
        for name, field in schema.get("properties", {}).items()
    ]


def sample(schema: dict[str, Any]) -> Any:
    """Return a value that looks like a schema: its defaults, else empty texts, zeros and first choices."""
    return _sample(schema, schema.get("$defs", {}), DEEPEST)


def _kind(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    for several in ("anyOf", "oneOf", "allOf"):
        if several in field:
            return " or ".join(dict.fromkeys(map(_kind, field[several])))
    if "enum" in field or "const" in field:
        return " or ".join(repr(choice) for choice in field.get("enum", [field.get("const")]))
    kind = str(field.get("type", "anything"))
    if kind == "array":
        return f"list of {_kind(field.get('items') or {})}"
    return f"{kind}, {field['format']}" if "format" in field else kind


def _sample(field: dict[str, Any], known: dict[str, Any], depth: int) -> Any:
    if "default" in field:
        return field["default"]
    if "$ref" in field:
        return _sample(known.get(str(field["$ref"]).rpartition("/")[2], {}), known, depth - 1) if depth else None
    for several in ("anyOf", "oneOf", "allOf"):
        if several in field:
            return _sample(field[several][0], known, depth)
    if "enum" in field or "const" in field:
        return field.get("enum", [field.get("const")])[0]
    kind = field.get("type")
    if kind == "array":
        return []
    if kind == "object":
        return {name: _sample(each, known, depth) for name, each in field.get("properties", {}).items()}
    return _SAMPLES.get(str(kind))


__all__ = ["Field", "fields_of", "sample"]
