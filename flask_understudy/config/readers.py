"""What a setting takes: each reader returns the value as it is used.

A reader raises ValueError, which says what would do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from ipaddress import ip_network
from typing import Any
from urllib.parse import urlsplit

from ..errors import InvalidSchedule
from ..policy import QueuePolicy, policies_of
from ..timing import zone_of

SHORTEST_LEASE = 0.5

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def boolean(value: Any) -> bool:
    """Read a switch the way people write it."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError("true or false")


def whole(minimum: int) -> Callable[[Any], int]:
    """Return a reader of whole numbers from a minimum on."""

    def read(value: Any) -> int:
        wanted = f"a whole number, {minimum} or more"
        if isinstance(value, bool):
            raise ValueError(wanted)
        try:
            number = int(str(value).strip()) if not isinstance(value, int) else value
        except ValueError:
            raise ValueError(wanted) from None
        if number < minimum:
            raise ValueError(wanted)
        return number

    return read


def seconds(value: Any) -> float:
    """Read a duration: a number of seconds, or a timedelta."""
    wanted = "a number of seconds above 0"
    if isinstance(value, timedelta):
        value = value.total_seconds()
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(wanted) from None
    if not 0 < number < 1e9:
        raise ValueError(wanted)
    return number


def share(value: Any) -> float:
    """Read a share above 0 and up to 1."""
    wanted = "a share above 0 and up to 1, such as 0.1"
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(wanted) from None
    if isinstance(value, bool) or not 0 < number <= 1:
        raise ValueError(wanted)
    return number


def lease(value: Any) -> float:
    """Read the seconds of a lease."""
    number = seconds(value)
    if number < SHORTEST_LEASE:
        raise ValueError(f"{SHORTEST_LEASE} s or more: a worker that is merely busy would be taken for dead")
    return number


def choice(*choices: str) -> Callable[[Any], str]:
    """Return a reader of one of these words."""

    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return str(value)

    return read


def text(value: Any) -> str:
    """Read a text, which may be empty."""
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def path(value: Any) -> str:
    """Read the path of a URL, or nothing."""
    if not isinstance(value, str) or (value and not re.fullmatch(r"(/[\w.~-]+)+", value)):
        raise ValueError("a path such as /metrics, or nothing")
    return value


def addresses(value: Any) -> tuple[str, ...]:
    """Read addresses of mail: a list, or a text with commas."""
    wanted = "addresses such as ops@example.com, as a list or parted by commas"
    if not isinstance(value, str | list | tuple):
        raise ValueError(wanted)
    found = value.split(",") if isinstance(value, str) else value
    stripped = tuple(str(address).strip() for address in found if str(address).strip())
    if not all(re.fullmatch(r"[^@\s]+@[^@\s]+", address) for address in stripped):
        raise ValueError(wanted)
    return stripped


def _entries(value: Any, wanted: str) -> list[str]:
    if isinstance(value, int) and not isinstance(value, bool):
        return [str(value)]
    if not isinstance(value, str | list | tuple | set | frozenset):
        raise ValueError(wanted)
    found = value.split(",") if isinstance(value, str) else value
    return [str(entry).strip() for entry in found if str(entry).strip()]


def networks(value: Any) -> tuple[str, ...]:
    """Read networks of IP addresses: a list, or a text with commas."""
    wanted = "networks such as 10.1.0.0/16 or fd00::/8, as a list or parted by commas"
    try:
        return tuple(str(ip_network(entry)) for entry in _entries(value, wanted))
    except ValueError:
        raise ValueError(wanted) from None


def ports(value: Any) -> tuple[int, ...]:
    """Read ports: a list, or a text with commas."""
    wanted = "ports from 1 to 65535, as a list or parted by commas"
    found = _entries(value, wanted)
    if not all(re.fullmatch("[0-9]{1,5}", entry) and 1 <= int(entry) <= 65_535 for entry in found):
        raise ValueError(wanted)
    return tuple(int(entry) for entry in found)


def webhook(value: Any) -> str:
    """Read a URL that is posted to, or nothing."""
    wanted = "an https:// URL; http:// goes to this machine only, such as http://127.0.0.1:9000/alerts"
    try:
        url = urlsplit(text(value))
        host = url.hostname
    except ValueError:
        raise ValueError(wanted) from None
    if value and not (host and (url.scheme == "https" or (url.scheme == "http" and host in _LOOPBACK))):
        raise ValueError(wanted)
    return str(value)


def zone(value: Any) -> str:
    """Read the name of a time zone."""
    try:
        return zone_of(value).key
    except InvalidSchedule:
        raise ValueError("an IANA time zone such as Europe/Berlin") from None


def packages(value: Any) -> tuple[str, ...]:
    """Read names of packages."""
    wanted = "names of packages such as app.jobs, as a list or parted by commas"
    if not isinstance(value, str | list | tuple):
        raise ValueError(wanted)
    found = value.split(",") if isinstance(value, str) else value
    names = tuple(str(name).strip() for name in found if str(name).strip())
    if not all(part.isidentifier() for name in names for part in name.split(".")):
        raise ValueError(wanted)
    return names


def queues(value: Any) -> dict[str, QueuePolicy]:
    """Read the policies of queues."""
    if not isinstance(value, Mapping):
        raise ValueError("a mapping of queue name to policy")
    return policies_of(value)
