"""The settings of the service: where each comes from, what it may be, and what it means.

Order of precedence: what the code passes to ``create_app``, then the environment, then
``instance/config.py`` when there is one, then the default. What starts with ``UNDERSTUDY_``,
``QUEUE_`` or ``SCHEDULER_`` belongs to the library, which reads and checks it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import click

from app.config.readers import database_url
from app.config.settings import OTHER_NAMES, SETTINGS, Setting

__all__ = ["SETTINGS", "ConfigurationError", "Setting", "database_url", "read"]

#: Body of a request, in bytes (requirement C12).
MAX_BODY_BYTES = 256 * 1024


class ConfigurationError(click.ClickException, ValueError):
    """A setting that cannot be used: the message has its name, what came and what would do.

    The ``flask`` command shows it as one line, as it does with all errors of Click's kind.
    """


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
    values.setdefault("MAIL_TIMEOUT", values["SMTP_TIMEOUT"])
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
