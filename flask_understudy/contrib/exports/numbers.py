"""Numbers and JSON as PostgreSQL prints them, for SQLite, which prints them otherwise."""

from __future__ import annotations

import json
import math
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from itertools import chain
from typing import Any

# More digits than a double has, at any place before or after the point.
_WIDE = Context(prec=400, rounding=ROUND_HALF_UP)


def float_text(number: float | None) -> str | None:
    """Return the shortest text that reads back as `number`: `0.1`, `100000`, `1e+20`.

    PostgreSQL goes over to an exponent at 1e15, Python at 1e16; PostgreSQL has no `.0`; and where
    the shortest text lies just between two doubles, PostgreSQL takes the next longer one.
    """
    if number is None:
        return None
    number = float(number)
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    if abs(number) >= 1e15:
        shortest = f"{Decimal(repr(number)).normalize(_WIDE):e}"
        longer = (f"{number:.{digits}e}" for digits in range(17))
        return next(text for text in chain([shortest], longer) if _is_own(text, number))
    return repr(number).removesuffix(".0")


def _is_own(text: str, number: float) -> bool:
    """Return whether a large `number` is the only double that `text` can mean, without a tie."""
    meant, here = abs(Fraction(text)), abs(Fraction(number))
    below, above = (math.nextafter(abs(number), limit) for limit in (0.0, math.inf))
    highest = here if math.isinf(above) else (here + Fraction(above)) / 2
    return meant == here or (here + Fraction(below)) / 2 < meant < highest


def decimal_text(number: float | None, scale: int | None) -> str | None:
    """Return `number` with `scale` digits after the point, or with as many as it has."""
    if number is None:
        return None
    if not math.isfinite(number):
        return float_text(number)
    exact = Decimal(repr(number))
    if scale is None:
        return format(exact.normalize(_WIDE) + 0, "f")
    return format(exact.quantize(Decimal(1).scaleb(-scale), context=_WIDE) + 0, "f")


def json_text(text: str | float | None) -> str | None:
    """Return a JSON document as PostgreSQL prints `jsonb`: keys by length, `, ` and `: `."""
    if text is None:
        return None
    # A column of the type JSON has SQLite's numeric affinity: a lone number is stored as one.
    text = text if isinstance(text, str) else repr(text)
    return _jsonb(json.loads(text, parse_float=Decimal, parse_int=Decimal))


def _jsonb(value: Any) -> str:
    match value:
        case dict():
            ordered = sorted(value, key=lambda name: (len(name.encode()), name.encode()))
            members = (f"{_string(name)}: {_jsonb(value[name])}" for name in ordered)
            return "{" + ", ".join(members) + "}"
        case list():
            return "[" + ", ".join(map(_jsonb, value)) + "]"
        case str():
            return _string(value)
        case Decimal():
            return format(value if value else abs(value), "f")
    return json.dumps(value)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
