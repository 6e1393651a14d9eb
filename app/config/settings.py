"""The settings of the service, one line each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.config.readers import (
    database_url,
    flag,
    http_url,
    names,
    one_of,
    rate,
    redis_url,
    secret_key,
    sender,
    storage_url,
    whole,
)


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


SETTINGS: tuple[Setting, ...] = (
    Setting("DATABASE_URL", database_url, None, "The database; absent: instance/app.db, SQLite.", True),
    Setting("REDIS_URL", redis_url, None, "Redis or Valkey; absent: the database carries.", True),
    Setting("SECRET_KEY", secret_key, None, "Signs links and codes; needed on PostgreSQL.", True),
    Setting(
        "APP_URL",
        http_url,
        "http://127.0.0.1:8000",
        "Start of the links in mails; or NEXTAUTH_URL.",
    ),
    Setting("SMTP_HOST", str, "localhost", "The server that takes mail."),
    Setting("SMTP_PORT", whole(1, 65535), 587, "Its port; 587 uses STARTTLS and 465 TLS."),
    Setting("SMTP_USER", str, None, "User name at the mail server."),
    Setting("SMTP_PASS", str, None, "Password at the mail server.", True),
    Setting("SMTP_FROM", sender, '"Flask-Understudy" <no-reply@localhost.localdomain>', "The sender."),
    Setting("SMTP_TIMEOUT", whole(1, 300), 10, "Seconds to wait for the mail server."),
    Setting("MAIL_ALLOWED_SENDERS", names, (), "More senders than SMTP_FROM's domain has."),
    Setting("MAIL_VERIFY_TLS", flag, True, "Whether the mail server's certificate is checked."),
    Setting("SENTRY_DSN", str, None, "Where errors are reported; absent: nowhere.", True),
    Setting("SCHEDULER_ENABLED", flag, True, "Whether the clock fires the schedules."),
    Setting("LOG_LEVEL", one_of("debug", "info", "warning", "error"), "info", "Least level logged."),
    Setting("LOG_FORMAT", one_of("auto", "json", "console"), "auto", "JSON, or text on a terminal."),
    Setting("UNDERSTUDY_LOG_PII", flag, False, "Log mail addresses in full, not masked [C31]."),
    Setting(
        "UNDERSTUDY_SIGNING_KEY",
        secret_key,
        None,
        "Shared with systems that report jobs; or JOBS_SIGNING_KEY, INNGEST_SIGNING_KEY [H01].",
        True,
    ),
    Setting("TRUSTED_PROXIES", whole(0, 10), 0, "Proxies in front, for the caller's address."),
    Setting("DATABASE_POOL_SIZE", whole(1, 200), 10, "Connections kept open by each process."),
    Setting("EXPORT_DIR", str, None, "Files of exports; absent: instance/exports."),
    Setting(
        "EXPORT_STORAGE_URL",
        storage_url,
        None,
        "Files of exports: file:///folder or s3://bucket/prefix; absent: EXPORT_DIR.",
        True,
    ),
    Setting("EXPORT_REDIRECT", flag, False, "Whether downloads are sent on to the bucket."),
    Setting("EXPORT_KEEP_DAYS", whole(1, 365), 7, "Days until an export's file is deleted."),
    Setting("EXPORT_MAX_BYTES", whole(1, 2**50), 4 * 1024**3, "Bytes an export's file may have."),
    Setting("GOOGLE_CLIENT_ID", str, None, "This service at Google; absent: calendars are not renewed."),
    Setting("GOOGLE_CLIENT_SECRET", str, None, "Its secret there.", True),
    Setting("GOOGLE_TOKEN_URL", http_url, "https://oauth2.googleapis.com/token", "Where Google renews tokens."),
    Setting("ZOOM_CLIENT_ID", str, None, "This service at Zoom; absent: Zoom's tokens are not renewed."),
    Setting("ZOOM_CLIENT_SECRET", str, None, "Its secret there.", True),
    Setting("ZOOM_TOKEN_URL", http_url, "https://zoom.us/oauth/token", "Where Zoom renews tokens."),
    Setting("TEMP_DIR", str, None, "Temporary files; absent: instance/tmp."),
    Setting("API_RATE_LIMIT", rate, "1200 per minute", "Requests of one token, or one address without."),
    Setting("RATELIMIT_ENABLED", flag, True, "Whether requests, sign-up and sign-in are limited."),
)

#: Names that a setting has elsewhere: read, in this order, where its own is absent.
OTHER_NAMES = {
    "APP_URL": ("NEXTAUTH_URL",),
    "UNDERSTUDY_SIGNING_KEY": ("JOBS_SIGNING_KEY", "INNGEST_SIGNING_KEY"),
}
