"""The reference service: a multi-tenant application whose slow work is done by Flask-Understudy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Config, Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from app import actors as actors
from app import auth as auth
from app import blueprints, cli, errors, limits, logs, queues
from app import dashboard as dashboard
from app.config import ConfigurationError, read
from app.extensions import db, jobs, mail, migrate
from flask_understudy.errors import ConfigError


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Build the application.

    Args:
        config: Configuration that beats the environment; ``INSTANCE_PATH`` moves the folder in
            which the service keeps its own files.

    Raises:
        ConfigurationError: When a setting cannot be used.
    """
    chosen = dict(config or {})
    instance = chosen.pop("INSTANCE_PATH", None) or os.environ.get("INSTANCE_PATH")
    app = Flask(
        __name__,
        static_folder=None,
        instance_path=str(Path(instance).absolute()) if instance else None,
    )
    file = Config(app.instance_path)
    file.from_pyfile("config.py", silent=True)
    app.config.update(read(os.environ, Path(app.instance_path), chosen, file))
    app.config.setdefault("UNDERSTUDY_QUEUES", queues.POLICIES)
    app.config.setdefault("UNDERSTUDY_DISCOVER", "app.actors")

    logs.init_app(app)
    errors.init_app(app)
    if hops := app.config["TRUSTED_PROXIES"]:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]

    db.init_app(app)
    migrate.init_app(app, db)
    mail.init_app(app)
    limits.init_app(app)
    try:
        jobs.init_app(app)
    except ConfigError as problem:
        raise ConfigurationError(str(problem)) from problem

    blueprints.init_app(app)
    cli.init_app(app)
    return app
