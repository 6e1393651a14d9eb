"""The extensions of the service, made once and bound to an app by ``create_app``.

The order matters in one place: Sentry patches the broker's class, so it starts before
``Understudy`` makes the broker.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from flask import current_app, request
from flask_limiter import ApplicationLimit, HeaderNames, Limiter
from flask_limiter.util import get_remote_address
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

from app import monitoring
from app.models.base import Base
from flask_understudy import Understudy
from flask_understudy.contrib.mail import JobMail
from flask_understudy.contrib.webhooks.sending import Webhooks

monitoring.start(os.environ)

db = SQLAlchemy(metadata=Base.metadata)
jobs = Understudy(db)
webhooks = Webhooks(jobs)
#: Declares the actor ``email:send``: mail that is given in full, in the queue's five tries (A24, A41, D10).
mail = JobMail(jobs, priority=2, api=True)
migrate = Migrate(directory=str(Path(__file__).parent.parent / "migrations"))


def _caller() -> str:
    """Whom a limit counts: the bearer of a token, by its digest, else the address."""
    authorization = request.headers.get("Authorization")
    return hashlib.sha256(authorization.encode()).hexdigest() if authorization else str(get_remote_address())


#: Under a name of its own, as the limiter would overwrite what a 503 says.
RETRY_AFTER = "X-RateLimit-Retry-After"
limiter = Limiter(
    get_remote_address,
    storage_uri="memory://",
    headers_enabled=True,
    header_name_mapping={HeaderNames.RETRY_AFTER: RETRY_AFTER},
    application_limits=[
        ApplicationLimit(
            lambda: current_app.config["API_RATE_LIMIT"],
            key_function=_caller,
            exempt_when=lambda: request.blueprint == "health",  # probes come often, and from one address
        )
    ],
)
