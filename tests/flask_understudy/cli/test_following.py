"""Following jobs until they have ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.flask_understudy.cli.conftest import Typist


@contextmanager
def at_work(cli: Typist) -> Iterator[None]:
    """A worker that runs what waits, beside the command."""
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.05):
            cli.site.worker.drain()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.requirement("O02")
def test_retried_jobs_are_followed_to_their_ends(sqlite_cli: Typist) -> None:
    failed = [sqlite_cli.fail("disk is full") for _ in range(2)]
    fingerprint = sqlite_cli.site.job(failed[0]).fingerprint or ""

    with at_work(sqlite_cli):
        said = sqlite_cli("retry", "--fingerprint", fingerprint, "--yes", "--wait", expect=1)
        told = sqlite_cli("retry", *failed, "--wait", "--json", expect=1)

    assert "2 jobs retried, 0 skipped.\n2 jobs: 2 failed.\n" in said.out
    assert "2 jobs did not complete" in said.err
    assert (told.json["done"], told.json["counts"]["failed"]) == (2, 2)


def test_watched_jobs_are_those_named_or_found(cli: Typist) -> None:
    first, second = cli.send(), cli.send()

    with at_work(cli):
        said = cli("watch", "--queue", "email")
        assert cli("watch", first, second).out == said.out == "2 jobs: 2 completed.\n"


def test_what_has_not_ended_in_time_is_told(sqlite_cli: Typist) -> None:
    id = sqlite_cli.send()

    said = sqlite_cli("watch", id, "--timeout", "0", expect=1)

    assert (said.out, said.err) == ("1 job: 1 waiting.\n", "Error: Time is up before the end of 1 job.\n")
    assert "no such job" in sqlite_cli("watch", "nope", expect=4).err
    sqlite_cli("watch", expect=2)
    sqlite_cli("watch", id, "--queue", "email", expect=2)
