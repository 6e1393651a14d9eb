"""The settings as they hold: each with its value, fit to be shown, and where that comes from."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import timedelta
from typing import Any

from . import Config
from .redacted import redacted

WITHHELD = "***"

ENVIRONMENT, APPLICATION, DEFAULT = "environment", "app.config", "default"

#: What the address of the transport may also come from.
_ADDRESSES = ("REDIS_URL", "QUEUE_REDIS_HOST", "SQS_QUEUE_URL")
_IDS = re.compile(r" \([A-Z]+\d[^()]*\)")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        key: Its name.
        value: What holds, as JSON; what is secret is withheld.
        origin: `environment`, `app.config` or `default`.
        source: The name under which it was found there, which may be an older one; empty = the default.
        meaning: In words.
    """

    key: str
    value: Any
    origin: str
    source: str
    meaning: str


def effective(
    config: Config, application: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> list[Setting]:
    """Return all settings by name.

    Args:
        config: As they were read.
        application: The Flask application's `app.config`.
        environ: The environment; default `os.environ`.
    """
    environ = os.environ if environ is None else environ
    found = []
    for field in fields(config):
        key, value = field.metadata["key"], getattr(config, field.name)
        names = (key, *field.metadata["also"], *(_ADDRESSES if field.name == "transport" else ()))
        origin, source = _found(names, application, environ)
        if field.metadata["is_secret"]:
            value = WITHHELD if value else ""
        meaning = _IDS.sub("", field.metadata["meaning"]).replace("`", "")
        found.append(Setting(key, _plain(value), origin, source, meaning))
    return sorted(found, key=lambda setting: setting.key)


def _found(names: tuple[str, ...], application: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[str, str]:
    for name in names:
        if environ.get(name):
            return ENVIRONMENT, name
        if application.get(name) not in (None, ""):
            return APPLICATION, name
    return DEFAULT, ""


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(one) for name, one in asdict(value).items() if one is not None}
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, timedelta):
        return str(value)
    return redacted(value) if isinstance(value, str) else value
