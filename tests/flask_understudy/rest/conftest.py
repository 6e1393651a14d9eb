"""A site with the REST API, and callers of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import dramatiq
import pytest
from flask import Request
from werkzeug.test import TestResponse

from flask_understudy import Principal
from flask_understudy.contrib.api import problems
from tests.flask_understudy.conftest import MakeSite, Site

PREFIX = "/api/jobs"
EVERY_SCOPE = "read payload enqueue operate admin"


def who(request: Request) -> Principal | None:
    """The caller is whoever the token says: `tenant/subject/scopes`."""
    tenant, _, rest = request.headers.get("Authorization", "").removeprefix("Bearer ").partition("/")
    subject, _, scopes = rest.partition("/")
    return Principal(subject, tenant, frozenset(scopes.split())) if subject else None


@dataclass
class Api:
    """Calls the API of a site.

    Attributes:
        site: The site.
        caller: Who calls, as `tenant/subject/scopes`; empty = nobody.
    """

    site: Site
    caller: str = f"acme/olga/{EVERY_SCOPE}"
    actors: dict[str, dramatiq.Actor[Any, Any]] = field(default_factory=dict)

    def as_(self, tenant: str = "acme", subject: str = "olga", scopes: str = EVERY_SCOPE) -> Self:
        """The same API for another caller."""
        return type(self)(self.site, f"{tenant}/{subject}/{scopes}", self.actors)

    def anonymous(self) -> Self:
        """The same API for nobody."""
        return type(self)(self.site, "", self.actors)

    def __call__(self, method: str, path: str, **options: Any) -> TestResponse:
        """Send a request below the prefix."""
        headers = {**({"Authorization": f"Bearer {self.caller}"} if self.caller else {}), **options.pop("headers", {})}
        return self.site.app.test_client().open(PREFIX + path, method=method, headers=headers, **options)

    def get(self, path: str, expected: int = 200, **options: Any) -> Any:
        """GET; return the JSON of an answer that has the expected status."""
        return self._json("GET", path, expected, options)

    def post(self, path: str, expected: int = 200, **options: Any) -> Any:
        """POST, likewise."""
        return self._json("POST", path, expected, options)

    def patch(self, path: str, expected: int = 200, **options: Any) -> Any:
        """PATCH, likewise."""
        return self._json("PATCH", path, expected, options)

    def delete(self, path: str, expected: int = 204, **options: Any) -> Any:
        """DELETE, likewise."""
        return self._json("DELETE", path, expected, options)

    def _json(self, method: str, path: str, expected: int, options: dict[str, Any]) -> Any:
        answer = self(method, path, **options)
        assert answer.status_code == expected, f"{answer.status}: {answer.text}"
        return answer.json if answer.is_json or "json" in answer.content_type else None

    def send(self, *args: Any, tenant: str = "acme", actor: str = "work", **options: Any) -> str:
        """Send a job; return its id."""
        with self.site.app.app_context():
            message = self.actors[actor].send_with_options(args=args, tenant=tenant, **options)
        return str(message.message_id)

    def fail(self, *args: Any, tenant: str = "acme", **options: Any) -> str:
        """Send a job that fails for good, and run it; return its id."""
        id = self.send(*args, tenant=tenant, actor="broken", **options)
        self.site.worker.run(id)
        return id


def open_api(site: Site) -> Api:
    """Give a site actors and the API."""
    site.app.config["SECRET_KEY"] = "a secret for tests, long enough"
    site.jobs.authorizer(who)
    problems.init_app(site.app)  # what no route takes is not the blueprint's
    jobs = site.jobs

    @jobs.actor(queue_name="email", actor_name="work", api=True)
    def work(to: str = "", n: int = 0, token: str = "") -> str:
        return f"done for {to}"

    @jobs.actor(queue_name="reports", actor_name="broken", max_retries=0, api=True)
    def broken(text: str = "boom 1", kind: str = "value") -> None:
        raise {"value": ValueError, "key": KeyError}[kind](text)

    @jobs.actor(queue_name="email", actor_name="private")
    def private() -> None:
        """Not for the API."""

    return Api(site, actors={"work": work, "broken": broken, "private": private})


@pytest.fixture
def api(site: Site) -> Api:
    """The API of a site on each database."""
    return open_api(site)


@pytest.fixture
def sqlite_api(make_site: MakeSite, sqlite_ledger: str) -> Api:
    """The API of a site on SQLite, where the database makes no difference."""
    return open_api(make_site(sqlite_ledger))
