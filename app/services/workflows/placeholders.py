"""Values out of an execution's payload, put where a step says ``{{ payload.a.b }}``.

It is a look-up by names and nothing more: no expressions, no filters, and what was put in is not read again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from markupsafe import escape

#: Characters that the values of one step have together, at the most.
MOST_CHARACTERS = 100_000
EXAMPLE = "{{ payload.user.email }}"

_PLACEHOLDER = re.compile(r"\{\{ *payload((?:\.[A-Za-z0-9_-]{1,100}){1,20}) *\}\}")


class StepRefused(ValueError):
    """A step cannot be done with this payload, and never will be; says why."""


def check(value: Any) -> None:
    """Let pass texts, and objects and lists of them, whose placeholders can be read.

    Raises:
        StepRefused: There is a ``{{`` that begins none.
    """
    if isinstance(value, str):
        if (place := _PLACEHOLDER.sub("", value).find("{{")) >= 0:
            shown = _PLACEHOLDER.sub("", value)[place : place + 40]
            raise StepRefused(f"{shown!r} is no placeholder; they look like {EXAMPLE}.")
    elif isinstance(value, Mapping):
        for item in value.values():
            check(item)
    elif isinstance(value, list):
        for item in value:
            check(item)


def is_in(value: Any) -> bool:
    """Tell whether a text has a placeholder."""
    return isinstance(value, str) and _PLACEHOLDER.search(value) is not None


def stand_in(value: Any) -> Any:
    """Return a value with an x in the place of each placeholder, so that the rest of it can be checked."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub("x", value)
    if isinstance(value, Mapping):
        return {name: stand_in(item) for name, item in value.items()}
    return [stand_in(item) for item in value] if isinstance(value, list) else value


class Filling:
    """Puts the payload's values into one step.

    Args:
        payload: Where they come from.
    """

    def __init__(self, payload: Mapping[str, Any]) -> None:
        self._payload = payload
        self._left = MOST_CHARACTERS

    def text(self, template: str, *, is_html: bool = False) -> str:
        """Return a text with its values; numbers are written as JSON has them.

        Args:
            template: The text.
            is_html: Whether to write values so that HTML shows them as they are.

        Raises:
            StepRefused: The payload has no such value, it is no text or number, or there is too much of them.
        """

        def fill(found: re.Match[str]) -> str:
            value = self._find(found)
            if not isinstance(value, str | int | float):
                raise StepRefused(f"payload{found[1]} is {_kind(value)}; a text takes a text or a number.")
            text = value if isinstance(value, str) else json.dumps(value)
            return self._counted(str(escape(text)) if is_html else text)

        return self._counted(_PLACEHOLDER.sub(fill, template))

    def value(self, template: Any) -> Any:
        """Return a JSON value with its values; a placeholder that stands alone becomes the value itself.

        Raises:
            StepRefused: As `text` does.
        """
        if isinstance(template, str):
            whole = _PLACEHOLDER.fullmatch(template)
            if whole is None:
                return self.text(template)
            found = self._find(whole)
            self._counted(json.dumps(found))
            return found
        if isinstance(template, Mapping):
            return {name: self.value(item) for name, item in template.items()}
        return [self.value(item) for item in template] if isinstance(template, list) else template

    def _find(self, found: re.Match[str]) -> Any:
        value: Any = self._payload
        for name in found[1].split(".")[1:]:
            if isinstance(value, Mapping) and name in value:
                value = value[name]
            elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
                value = value[int(name)]
            else:
                raise StepRefused(f"The payload has no payload{found[1]}: {name!r} is not there.")
        return value

    def _counted(self, text: str) -> str:
        self._left -= len(text)
        if self._left < 0:
            raise StepRefused(f"The step's values have more than {MOST_CHARACTERS} characters.")
        return text


def _kind(value: Any) -> str:
    return "nothing" if value is None else "an object" if isinstance(value, Mapping) else "a list"
