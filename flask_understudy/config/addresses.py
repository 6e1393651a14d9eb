"""Where the broker is: one address out of the settings that may name it."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from ..errors import ConfigError
from .readers import whole

logger = logging.getLogger("flask_understudy")


def transport_url(named: str, config: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """Return the URL of the transport: `database`, or a Redis URL (requirements H09, H12, C9).

    Args:
        named: The value of `UNDERSTUDY_TRANSPORT`; wins when not empty.
        config: The Flask application's configuration.
        environ: The environment, which wins over `config`.

    Raises:
        ConfigError: The URL's scheme is unknown, or the port is no number.
    """

    def look(key: str) -> Any:
        return environ.get(key) or config.get(key) or ""

    if named in {"database", "memory"}:
        return "database"
    url, host = look("REDIS_URL"), look("QUEUE_REDIS_HOST")
    port, password = look("QUEUE_REDIS_PORT"), look("QUEUE_REDIS_PASSWORD")
    if host or port or password:
        try:
            by_parts = (host or "localhost", whole(1)(port or 6379))
        except ValueError as problem:
            raise ConfigError(f"QUEUE_REDIS_PORT is {port!r}; it takes {problem}.") from None
        if url:
            _check_transport("REDIS_URL", str(url))
        by_url = (urlsplit(url).hostname, urlsplit(url).port or 6379) if url else by_parts
        if by_url != by_parts:
            logger.warning(
                "REDIS_URL names %s:%s and QUEUE_REDIS_* names %s:%s; REDIS_URL is used. Make them agree.",
                *by_url,
                *by_parts,
            )
        secret = f":{quote(str(password), safe='')}@" if password else ""
        url = url or f"redis://{secret}{by_parts[0]}:{by_parts[1]}/0"
    key = "UNDERSTUDY_TRANSPORT" if named else "REDIS_URL"
    url = named or url
    if not url:
        return "database"
    _check_transport(key, str(url))
    return str(url)


def _check_transport(key: str, url: str) -> None:
    """Refuse a URL that no transport can use, naming its key."""
    try:
        parts = urlsplit(url)
        port, database = parts.port, parts.path.strip("/")
    except ValueError as problem:
        wrong = f": {problem}"
    else:
        is_number = database.isdecimal() or not database or parts.scheme not in {"redis", "rediss"}
        if parts.scheme in {"redis", "rediss", "unix"} and port != 0 and is_number:
            return
        wrong = "" if is_number else f": the database {database[:40]!r} is no number"
    others = "database, " if key == "UNDERSTUDY_TRANSPORT" else ""
    raise ConfigError(
        f"{key} is {redacted(url)!r}, which is no transport{wrong}; "
        f"it takes {others}redis://host:6379/0 or rediss://host:6379/0."
    )


def redacted(url: str) -> str:
    """Return a URL without its password, fit for logs."""
    return re.sub(r"(?<=://)([^:/@]*):.*@", r"\1:***@", url)
