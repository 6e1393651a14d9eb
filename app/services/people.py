"""What the address and the name of a person, or of an organisation, look like: the same at every door."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError

from flask_understudy.contrib.mail import InvalidMail, check


def one_line(text: str) -> str:
    """Let a text pass that is one line of printable characters."""
    if not text.isprintable():
        raise ValueError("must be one line without control characters")
    return text


def _deliverable(address: str) -> str:
    try:
        check(address, "a mail", text="to be written")
    except InvalidMail as problem:
        raise PydanticCustomError("address", "{problem}", {"problem": str(problem)}) from None
    return address


Address = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        to_lower=True,
        max_length=254,
        pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$",
    ),
    AfterValidator(_deliverable),
]
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(one_line),
]
