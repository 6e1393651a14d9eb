"""A site with the command line, and somebody who types."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.flask_understudy.conftest import MakeSite, Site


@dataclass
class Said:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Typist:
    """Types commands of a site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        jobs = site.jobs

        @jobs.actor(queue_name="email", actor_name="mail:send", max_retries=2, time_limit=5000, api=True)
        def mail(to: str, subject: str = "", token: str = "") -> str:
            """Send a mail."""
            return f"sent to {to}"

        @jobs.actor(queue_name="reports", actor_name="report:make", max_retries=0)
        def report(text: str = "boom", kind: str = "value") -> None:
            raise {"value": ValueError, "key": KeyError}[kind](text)

        @jobs.actor(queue_name="urgent", actor_name="urgent", fallback="fail")
        def urgent() -> None:
            """Only while the broker is there."""

        self.mail, self.report = mail, report

    def __call__(self, *arguments: str, expect: int = 0) -> Said:
        """Type `flask jobs …`; the code must be as expected."""
        result = self.site.app.test_cli_runner().invoke(args=["jobs", *arguments])
        said = Said(result.exit_code, result.stdout, result.stderr)
        assert said.code == expect, f"{said}\n{result.exception!r}"
        return said

    def fails(self, *arguments: str, code: int) -> str:
        """Type a command that is refused with one line, and return that line."""
        said = self(*arguments, expect=code)
        assert said.err.count("\n") == 1, said.err
        assert said.err.startswith("Error: ")
        assert "Traceback" not in said.out + said.err
        return said.err

    def send(self, *args: Any, **options: Any) -> str:
        with self.site.app.app_context():
            return str(self.mail.send_with_options(args=args or ("a@example.com",), **options).message_id)

    def fail(self, *args: Any, **options: Any) -> str:
        """Send a job that fails for good, and run it."""
        with self.site.app.app_context():
            id = str(self.report.send_with_options(args=args, **options).message_id)
        self.site.worker.run(id)
        return id

    def audit(self) -> list[tuple[str, str]]:
        """The audit, the latest first: (action, target)."""
        return [(line["action"], line["target"]) for line in self("audit", "--json").json["data"]]


@pytest.fixture
def cli(site: Site) -> Typist:
    """The command line of a site on each database."""
    return Typist(site)


@pytest.fixture
def sqlite_cli(make_site: MakeSite, sqlite_ledger: str) -> Typist:
    """The command line of a site on SQLite, where the database makes no difference."""
    return Typist(make_site(sqlite_ledger))
