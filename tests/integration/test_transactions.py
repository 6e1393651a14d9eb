"""What is not committed does not exist, what is committed runs, and between the two there is nothing."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.app.processes import ROOT, clean_environment
from tests.integration.deployment import Deployment
from tests.integration.service.actors import quick
from tests.integration.service.ext import Effect, db


def note() -> Effect:
    """A row of the service's own, so that its session has uncommitted writes."""
    return Effect(job_id="a request", fence=0, attempt=0, actor="request", kind="request", pid=0, at=time.time())


def forget_notes(deployment: Deployment) -> None:
    deployment.change("DELETE FROM effects WHERE kind = 'request'")


@pytest.mark.requirement("G1", "G2", "I7", "I9")
def test_only_jobs_of_what_was_committed_run(deployment: Deployment) -> None:
    gone: list[str] = []
    kept: list[str] = []

    with deployment.workers(), deployment.app.app_context():
        db.session.add(note())
        gone.append(quick.send().message_id)
        db.session.rollback()

        db.session.add(note())
        db.session.flush()
        gone.append(quick.send().message_id)
        db.session.remove()

        db.session.add(note())
        kept.append(quick.send().message_id)
        savepoint = db.session.begin_nested()
        db.session.add(note())
        gone.append(quick.send().message_id)
        savepoint.rollback()
        with db.session.begin_nested():
            db.session.add(note())
            kept.append(quick.send().message_id)
            with pytest.raises(ZeroDivisionError), db.session.begin_nested():
                db.session.add(note())
                gone.append(quick.send().message_id)
                raise ZeroDivisionError
        db.session.commit()

        kept.append(quick.send().message_id)  # nothing uncommitted: it is committed at once
        db.session.rollback()
        deployment.wait_for_end(kept)

    assert not set(gone) & set(deployment.states())
    assert sorted(effect.job_id for effect in deployment.effects()) == sorted(kept)
    assert len(deployment.effects("request")) == 2
    forget_notes(deployment)
    deployment.check(faultless=True)


SENDER = """
import os, time
from tests.integration.service.actors import quick
from tests.integration.service.ext import Effect, create_app, db

app = create_app()
state = app.extensions["understudy"]
state.transport.announce = lambda jobs: os.kill(os.getpid(), 9)
with app.app_context():
    if "{joined}" == "joined":
        db.session.add(Effect(job_id="a request", fence=0, attempt=0, actor="request", kind="request", pid=0, at=0))
    message = quick.message()
    print(message.message_id, flush=True)
    jobs = state.broker.enqueue(message)
    if "{when}" == "before":
        os.kill(os.getpid(), 9)
    db.session.commit()
"""


def run_sender(deployment: Deployment, joined: str, when: str) -> str:
    """Run a process that is killed while it sends; return the job's id."""
    done = subprocess.run(
        [sys.executable, "-c", SENDER.format(joined=joined, when=when)],
        cwd=ROOT,
        env=clean_environment() | deployment.settings,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == -9, done.stderr
    return done.stdout.strip()


@pytest.mark.requirement("G1", "promise-G10", "I1", "invariant-I14")
@pytest.mark.parametrize("joined", ["joined", "alone"])
def test_job_runs_though_its_sender_died_between_commit_and_announcement(
    deployment: Deployment, joined: str, figure
) -> None:
    with deployment.workers():
        id = run_sender(deployment, joined, "after")
        died = time.monotonic()
        deployment.wait_for_end([id], seconds=10)
        seconds = time.monotonic() - died

    figure("s from the sender's death to the job's end", seconds)
    assert seconds <= 5
    forget_notes(deployment)
    deployment.check(faultless=True)


@pytest.mark.requirement("G2", "I7")
def test_job_does_not_exist_when_its_sender_died_before_the_commit(deployment: Deployment) -> None:
    with deployment.workers():
        lost = run_sender(deployment, "joined", "before")
        later = [deployment.send(quick) for _ in range(3)]
        deployment.wait_for_end(later)

    assert lost not in deployment.states()
    assert len(deployment.effects()) == len(later)
    deployment.check(faultless=True)
