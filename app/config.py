"""The settings of the service: where each comes from, what it may be, and what it means.

Order of precedence: what the code passes to ``create_app``, then the environment, then
``instance/config.py`` when there is one, then the default. What starts with ``UNDERSTUDY_``,
``QUEUE_`` or ``SCHEDULER_`` belongs to the library, which reads and checks it.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from limits import parse_many
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError


class ConfigurationError(click.ClickException, ValueError):
    """A setting that cannot be used: the message has its name, what came and what would do.

    The ``flask`` command shows it as one line, as it does with all errors of Click's kind.
    """


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: The environment variable and the key in ``app.config``.
        parse: Turns the text into the value, or raises ValueError with what would be valid.
        default: The value when nothing is set.
        meaning: One line for the documentation.
        is_secret: Whether its value must not be shown in an error.
    """

    name: str
    parse: Callable[[str], Any]
    default: Any
    meaning: str
    is_secret: bool = False


def _flag(text: str) -> bool:
    value = {"1": True, "true": True, "yes": True, "on": True} | dict.fromkeys(("0", "false", "no", "off"), False)
    if text.lower() not in value:
        raise ValueError("true or false")
    return value[text.lower()]


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return number

    return parse


def _one_of(*names: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in names:
            raise ValueError("one of " + ", ".join(names))
        return text.lower()

    return parse


def _http_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise ValueError("an address such as https://app.example.com")
    return text.rstrip("/")


def _sender(text: str) -> str:
    if "@" not in parseaddr(text)[1] or any(c in text for c in "\r\n"):
        raise ValueError('an address such as "My Service" <no-reply@example.com>')
    return text


def _list(text: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())


def _rate(text: str) -> str:
    try:
        parse_many(text)
    except ValueError:
        raise ValueError("limits such as 1200 per minute") from None
    return text


def _storage_url(text: str) -> str:
    if "://" in text and not re.fullmatch(r"file:///.+|s3://[^/@?#]+(/[^?#]*)?", text):
        raise ValueError("a folder, file:///folder or s3://bucket/prefix")
    return text


def _secret_key(text: str) -> str:
    if len(text) < 16:
        raise ValueError("at least 16 characters")
    return text


def database_url(text: str) -> str:
    """Return ``text`` as SQLAlchemy wants it: Heroku's ``postgres://`` means psycopg.

    Raises:
        ValueError: For any database but PostgreSQL and SQLite.
    """
    scheme, separator, rest = text.partition("://")
    url = "postgresql+psycopg://" + rest if scheme in {"postgres", "postgresql", "postgresql+psycopg"} else text
    try:
        is_usable = bool(separator) and make_url(url).get_backend_name() in {"postgresql", "sqlite"}
    except (ValueError, ArgumentError):  # a port that is no number, an address in half brackets
        is_usable = False
    if not is_usable or not url.startswith(("postgresql+psycopg://", "sqlite://")):
        raise ValueError("postgresql://user:password@host:5432/name or sqlite:////path/to/file.db")
    return url


def _redis_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        database = parts.path.strip("/")
        is_usable = parts.scheme == "unix" or (
            parts.scheme in {"redis", "rediss"} and parts.port != 0 and (database.isdecimal() or not database)
        )
    except ValueError:  # a port that is no number, an address in half brackets
        is_usable = False
    if not is_usable:
        raise ValueError("redis://host:6379/0, or rediss:// for TLS")
    return text


SETTINGS: tuple[Setting, ...] = (
    Setting("DATABASE_URL", database_url, None, "The database; absent: instance/app.db, SQLite.", True),
    Setting("REDIS_URL", _redis_url, None, "Redis or Valkey; absent: the database carries.", True),
    Setting("SECRET_KEY", _secret_key, None, "Signs links and codes; needed on PostgreSQL.", True),
    Setting(
        "APP_URL",
        _http_url,
        "http://127.0.0.1:8000",
        "Start of the links in mails; or NEXTAUTH_URL.",
    ),
    Setting("SMTP_HOST", str, "localhost", "The server that takes mail."),
    Setting("SMTP_PORT", _whole(1, 65535), 587, "Its port; 587 uses STARTTLS and 465 TLS."),
    Setting("SMTP_USER", str, None, "User name at the mail server."),
    Setting("SMTP_PASS", str, None, "Password at the mail server.", True),
    Setting("SMTP_FROM", _sender, '"Flask-Understudy" <no-reply@localhost.localdomain>', "The sender."),
    Setting("SMTP_TIMEOUT", _whole(1, 300), 10, "Seconds to wait for the mail server."),
    Setting("MAIL_ALLOWED_SENDERS", _list, (), "More senders than SMTP_FROM's domain has."),
    Setting("MAIL_VERIFY_TLS", _flag, True, "Whether the mail server's certificate is checked."),
    Setting("SENTRY_DSN", str, None, "Where errors are reported; absent: nowhere.", True),
    Setting("SCHEDULER_ENABLED", _flag, True, "Whether the clock fires the schedules."),
    Setting("LOG_LEVEL", _one_of("debug", "info", "warning", "error"), "info", "Least level logged."),
    Setting("LOG_FORMAT", _one_of("auto", "json", "console"), "auto", "JSON, or text on a terminal."),
    Setting("UNDERSTUDY_LOG_PII", _flag, False, "Log mail addresses in full, not masked [C31]."),
    Setting(
        "UNDERSTUDY_SIGNING_KEY",
        _secret_key,
        None,
        "Shared with systems that report jobs; or JOBS_SIGNING_KEY, INNGEST_SIGNING_KEY [H01].",
        True,
    ),
    Setting("TRUSTED_PROXIES", _whole(0, 10), 0, "Proxies in front, for the caller's address."),
    Setting("DATABASE_POOL_SIZE", _whole(1, 200), 10, "Connections kept open by each process."),
    Setting("EXPORT_DIR", str, None, "Files of exports; absent: instance/exports."),
    Setting(
        "EXPORT_STORAGE_URL",
        _storage_url,
        None,
        "Files of exports: file:///folder or s3://bucket/prefix; absent: EXPORT_DIR.",
        True,
    ),
    Setting("EXPORT_REDIRECT", _flag, False, "Whether downloads are sent on to the bucket."),
    Setting("EXPORT_KEEP_DAYS", _whole(1, 365), 7, "Days until an export's file is deleted."),
    Setting("EXPORT_MAX_BYTES", _whole(1, 2**50), 4 * 1024**3, "Bytes an export's file may have."),
    Setting("GOOGLE_CLIENT_ID", str, None, "This service at Google; absent: calendars are not renewed."),
    Setting("GOOGLE_CLIENT_SECRET", str, None, "Its secret there.", True),
    Setting("GOOGLE_TOKEN_URL", _http_url, "https://oauth2.googleapis.com/token", "Where Google renews tokens."),
    Setting("ZOOM_CLIENT_ID", str, None, "This service at Zoom; absent: Zoom's tokens are not renewed."),
    Setting("ZOOM_CLIENT_SECRET", str, None, "Its secret there.", True),
    Setting("ZOOM_TOKEN_URL", _http_url, "https://zoom.us/oauth/token", "Where Zoom renews tokens."),
    Setting("TEMP_DIR", str, None, "Temporary files; absent: instance/tmp."),
    Setting("API_RATE_LIMIT", _rate, "1200 per minute", "Requests of one token, or one address without."),
    Setting("RATELIMIT_ENABLED", _flag, True, "Whether requests, sign-up and sign-in are limited."),
)

#: Names that a setting has elsewhere: read, in this order, where its own is absent.
OTHER_NAMES = {
    "APP_URL": ("NEXTAUTH_URL",),
    "UNDERSTUDY_SIGNING_KEY": ("JOBS_SIGNING_KEY", "INNGEST_SIGNING_KEY"),
}

#: Body of a request, in bytes (requirement C12).
MAX_BODY_BYTES = 256 * 1024


def read(
    environ: Mapping[str, str],
    instance: Path,
    overrides: Mapping[str, Any] | None = None,
    file: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the configuration for ``app.config``.

    Args:
        environ: The environment; an empty value counts as absent.
        instance: Folder for what the service keeps itself; made (mode 0700) when missing.
        overrides: What the code asks for, checked like the environment when it is text.
        file: What ``instance/config.py`` says; the environment beats it (requirement H17).

    Raises:
        ConfigurationError: Naming every setting that cannot be used.
    """
    given: dict[str, Any] = {k: v for k, v in environ.items() if v.strip()}
    given = {**(file or {}), **given}
    for name, others in OTHER_NAMES.items():
        if name not in given and (used := next(filter(given.get, others), None)):
            given[name] = given[used]
    known = {setting.name for setting in SETTINGS}
    values = {k: v for k, v in (file or {}).items() if k not in known} | dict(overrides or {})
    wrong = []
    for setting in SETTINGS:
        raw = values.get(setting.name, given.get(setting.name, setting.default))
        if isinstance(raw, str) and raw is not setting.default:
            try:
                raw = setting.parse(raw.strip())
            except ValueError as error:
                shown = "(not shown)" if setting.is_secret else repr(raw)
                wrong.append(f"{setting.name}: got {shown}, expected {error}")
        values[setting.name] = raw
    if wrong:
        raise ConfigurationError("; ".join(wrong))
    try:
        instance.mkdir(mode=0o700, parents=True, exist_ok=True)
        _complete(values, instance)
    except OSError as error:
        raise ConfigurationError(
            f"INSTANCE_PATH: {str(instance)!r} cannot be used ({error.strerror}), expected a folder that can be written"
        ) from None
    if "DYNO" in environ and (url := _heroku_redis(values["REDIS_URL"])):
        values.setdefault("UNDERSTUDY_TRANSPORT", url)
    return values


def _complete(values: dict[str, Any], instance: Path) -> None:
    """Fill in what follows from other settings."""
    values["DATABASE_URL"] = url = values["DATABASE_URL"] or _sqlite_file(instance)
    is_postgres = url.startswith("postgresql")
    values["SECRET_KEY"] = values["SECRET_KEY"] or _kept_secret(instance, is_postgres)
    values["TEMP_DIR"] = values["TEMP_DIR"] or str(instance / "tmp")
    values.setdefault("SQLALCHEMY_DATABASE_URI", url)
    if is_postgres:
        values.setdefault(
            "SQLALCHEMY_ENGINE_OPTIONS",
            {
                "pool_pre_ping": True,
                "pool_size": values["DATABASE_POOL_SIZE"],
                "connect_args": {"connect_timeout": 5},
            },
        )
    values.setdefault("MAX_CONTENT_LENGTH", MAX_BODY_BYTES)
    values.setdefault("MAIL_SERVER", values["SMTP_HOST"])
    values.setdefault("MAIL_PORT", values["SMTP_PORT"])
    values.setdefault("MAIL_USE_TLS", values["SMTP_PORT"] == 587)
    values.setdefault("MAIL_USE_SSL", values["SMTP_PORT"] == 465)
    values.setdefault("MAIL_USERNAME", values["SMTP_USER"])
    values.setdefault("MAIL_PASSWORD", values["SMTP_PASS"])
    values.setdefault("MAIL_DEFAULT_SENDER", parseaddr(values["SMTP_FROM"]))


def _heroku_redis(url: str | None) -> str | None:
    """Return Heroku's Redis URL as it can be used: its certificate is signed by nobody."""
    if url is None or not url.startswith("rediss://") or "ssl_cert_reqs" in url:
        return None
    return f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=none"


def _sqlite_file(instance: Path) -> str:
    path = instance / "app.db"
    path.touch(mode=0o600)
    return f"sqlite:///{path}"


def _kept_secret(instance: Path, is_postgres: bool) -> str:
    """Return the secret of this instance folder, made at the first start; never in production."""
    if is_postgres:
        raise ConfigurationError(
            "SECRET_KEY: nothing set, and every process on a PostgreSQL database needs the same "
            "one; make one with: python -c 'import secrets; print(secrets.token_hex(32))'"
        )
    path = instance / "secret_key"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        file.write(secret := secrets.token_hex(32))
    return secret
