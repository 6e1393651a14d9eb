"""Header values that stay in their header: one line, one address (security: header injection)."""

from __future__ import annotations

import re
from email.errors import HeaderParseError
from email.header import decode_header
from email.headerregistry import Address

from .errors import InvalidMail

LONGEST_ADDRESS = 320
LONGEST_LOCAL_PART = 64

# What ends a line somewhere, and NUL.
_LINE_ENDS = re.compile("[\x00\n\x0b\x0c\r\x1c-\x1e\x85\u2028\u2029]")

_QUOTED_NAME = r'"(?P<quoted>[^"<>\\]*)"'
_PLAIN_NAME = r"(?P<plain>[^\"<>@,;:\\\[\]()]*?)"
_NAMED = re.compile(rf"\s*(?:{_QUOTED_NAME}|{_PLAIN_NAME})\s*<(?P<address>[^<>\s]+)>\s*")
_BARE = re.compile(r'\s*(?P<address>[^<>"\s]+)\s*')
# Dots where RFC 5322 wants none occur in real addresses, and servers take them.
_LOCAL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+")
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")


def one_line(what: str, value: str) -> str:
    """Return `value`, if it has no line end in it, neither openly nor as an encoded word.

    Args:
        what: The header's name, for the error.
        value: The header's text.

    Raises:
        InvalidMail: It has a line end (of ASCII or of Unicode) or a NUL character.
    """
    if _LINE_ENDS.search(value) or ("=?" in value and _LINE_ENDS.search(_decoded(value))):
        raise InvalidMail(f"The {what} has a line end or a NUL in it: {value[:100]!r}.")
    return value


def parse_address(text: str) -> Address:
    """Return the address in `ada@example.com` or `Ada <ada@example.com>`.

    Raises:
        InvalidMail: It is none, or more than one, or has a line end in it.
    """
    one_line("address", text)
    found = (_NAMED.fullmatch(text) or _BARE.fullmatch(text)) if len(text) < LONGEST_ADDRESS else None
    local, _, domain = found["address"].rpartition("@") if found else ("", "", "")
    try:
        domain = domain.encode("idna").decode()
    except UnicodeError:
        domain = ""
    if not found or not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(domain):
        raise InvalidMail(f"{text[:100]!r} is no mail address such as ada@example.com.")
    if len(local) > LONGEST_LOCAL_PART:
        raise InvalidMail(f"{text[:100]!r} has more than {LONGEST_LOCAL_PART} characters before the @.")
    names = found.groupdict()
    return Address(names.get("quoted") or names.get("plain") or "", local, domain)


def _decoded(value: str) -> str:
    try:
        parts = decode_header(value)
    except HeaderParseError:
        raise InvalidMail(f"There is a broken encoded word in {value[:100]!r}.") from None
    return "".join(part if isinstance(part, str) else _text(part, charset or "latin-1") for part, charset in parts)


def _text(data: bytes, charset: str) -> str:
    try:
        return data.decode(charset, "replace")
    except LookupError:
        raise InvalidMail(f"{charset[:40]!r} is no character set.") from None
