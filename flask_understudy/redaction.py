"""What must not be shown: one rule for logs, signals and every other place that shows arguments."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import dramatiq

WITHHELD = "***"
SECRET = re.compile(
    r"pass|secret|token|api_?-?key|auth|cookie|session|card|cvv|iban|ssn|otp|private|credential|signature",
    re.IGNORECASE,
)

#: What is a secret whatever its name: JSON Web Tokens, private keys, keys of AWS, Stripe and Slack, bearer tokens, and
#: passwords in URLs.
_SECRET_VALUE = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|\b[sr]k_(?:live|test)_\w{8,}"
    r"|\bxox[abprs]-[\w-]{8,}"
    r"|(?<=[Bb]earer )[\w.~+/=-]{8,}"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)",
    re.DOTALL,
)
_DIGITS = re.compile(r"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])")


def redacted_text(text: str) -> str:
    """Return a text without what is a secret whatever its name, and without card numbers."""
    return _DIGITS.sub(_without_card, _SECRET_VALUE.sub(WITHHELD, text))


def _without_card(found: re.Match[str]) -> str:
    digits = [int(digit) for digit in found[0] if digit.isdecimal()]
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return WITHHELD if (doubled + sum(digits[-1::-2])) % 10 == 0 else found[0]  # Luhn's formula


def redacted_arguments(
    actor: dramatiq.Actor[Any, Any] | None, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a job's arguments with secrets replaced (security row S27).

    Secret is what the actor names in `sensitive` (`True` = everything) and whatever has a secret's name. An actor that
    this process does not know has everything withheld.
    """
    if actor is None or withholds_all(actor):
        return tuple(WITHHELD for _ in args), dict.fromkeys(kwargs, WITHHELD)
    names = list(inspect.signature(actor.fn).parameters)
    names += [""] * max(0, len(args) - len(names))

    def show(name: str, value: Any) -> Any:
        return WITHHELD if withholds(actor, name) else redacted(value, actor.broker.actors)

    return tuple(map(show, names, args)), {name: show(name, value) for name, value in kwargs.items()}


def withholds_all(actor: dramatiq.Actor[Any, Any]) -> bool:
    """Whether an actor has all its arguments withheld."""
    return actor.options.get("sensitive") is True


def withholds(actor: dramatiq.Actor[Any, Any], parameter: str) -> bool:
    """Whether an actor has an argument withheld, by its name."""
    return parameter in (actor.options.get("sensitive") or ()) or SECRET.search(parameter) is not None


def withholds_at(actor: dramatiq.Actor[Any, Any], position: int) -> bool:
    """Whether an actor has an argument withheld, by its position."""
    names = list(inspect.signature(actor.fn).parameters)
    return position < len(names) and withholds(actor, names[position])


def redacted(value: Any, actors: Mapping[str, dramatiq.Actor[Any, Any]] | None = None) -> Any:
    """Return a JSON value with everything under a secret's name replaced.

    Args:
        value: The value.
        actors: Those that this process knows. With them a message inside the value, as callbacks are given one, is
            redacted as its own actor asks.
    """
    if isinstance(value, Mapping):
        shown = {k: WITHHELD if SECRET.search(str(k)) else redacted(v, actors) for k, v in value.items()}
        if actors is not None and {"actor_name", "args", "kwargs"} <= value.keys():
            shown["args"], shown["kwargs"] = redacted_arguments(
                actors.get(value["actor_name"]), value["args"], value["kwargs"]
            )
        return shown
    if isinstance(value, list | tuple):
        return [redacted(item, actors) for item in value]
    return redacted_text(value) if isinstance(value, str) else value
