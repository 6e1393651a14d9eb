"""What operators do to jobs and queues reaches workers in other processes."""

from __future__ import annotations

import time

import pytest

from tests.integration.deployment import Deployment
from tests.integration.service.actors import failing, obedient, quick, slow
from tests.integration.service.ext import jobs
from tests.integration.workers import ACTORS


@pytest.mark.requirement("G1", "I1")
def test_paused_queue_starts_nothing_until_it_is_resumed(deployment: Deployment, figure) -> None:
    with deployment.workers(threads=2):
        running = deployment.send_many(slow, 2, 1.0)
        deployment.wait(lambda: len(deployment.effects("start")) == 2, "running jobs")
        with deployment.app.app_context():
            jobs.pause("work")
        waiting = deployment.send_many(quick, 5)
        deployment.wait_for_end(running)
        elsewhere = deployment.send(quick, priority=-10)
        time.sleep(1.5)  # nothing happens: there is no fact to wait for
        assert {deployment.states()[id] for id in [*waiting, elsewhere]} == {"waiting"}

        with deployment.app.app_context():
            jobs.resume("work")
        resumed = time.monotonic()
        deployment.wait_for_end()

    figure("s from resume to the end of the backlog", time.monotonic() - resumed)
    deployment.check(faultless=True)


@pytest.mark.requirement("G8", "I4")
def test_cancelled_jobs_do_not_start_and_a_running_one_is_asked_to_stop(deployment: Deployment, figure) -> None:
    with deployment.workers(threads=1):
        running = deployment.send(obedient, 60)
        deployment.wait(lambda: deployment.effects("start"), "the job to run")
        waiting, delayed = deployment.send(quick), deployment.send(quick, delay=500)
        with deployment.app.app_context():
            asked = time.monotonic()
            assert jobs.cancel(waiting) == "cancelled"
            assert jobs.cancel(delayed) == "cancelled"
            assert jobs.cancel(running) == "requested"
        deployment.wait_for_state(running, "cancelled", 15)
        seconds = time.monotonic() - asked
        deployment.wait_for_end([deployment.send(quick)])

    figure("s from cancel() to the end of the running job", seconds)
    assert seconds < 5
    assert {deployment.states()[id] for id in (running, waiting, delayed)} == {"cancelled"}
    assert not {effect.job_id for effect in deployment.effects()} & {running, waiting, delayed}
    deployment.check(faultless=True)


@pytest.mark.requirement("G8", "I2", "I3")
def test_failed_job_that_is_retried_by_hand_gets_its_attempts_again(deployment: Deployment) -> None:
    with deployment.workers():
        id = deployment.send(failing)
        deployment.wait_for_state(id, "failed")
        with deployment.app.app_context():
            jobs.retry(id)
        deployment.wait(lambda: deployment.job(id).attempt == 6 and deployment.job(id).state == "failed", "the end")

    assert (deployment.job(id).reason, len(deployment.effects("start"))) == ("exhausted", 6)
    deployment.check()


@pytest.mark.requirement("G3", "I2")
def test_job_of_a_newer_release_is_handed_back_until_a_worker_knows_it(deployment: Deployment) -> None:
    newer = deployment.send(quick)
    deployment.change("UPDATE understudy_jobs SET actor = 'brand_new' WHERE id = :id", id=newer)
    known = deployment.send_many(quick, 5)

    with deployment.workers(threads=1) as old:
        deployment.wait_for_end(known)
        deployment.wait_for_state(newer, "delayed")
        assert "brand_new" in old.output()
    job = deployment.job(newer)
    assert (job.attempt, job.hand_backs, job.reason) == (0, 1, None)

    past = "now()" if deployment.engine.dialect.name == "postgresql" else "created_at"
    deployment.change(f"UPDATE understudy_jobs SET run_at = {past} WHERE id = :id", id=newer)
    with deployment.workers(modules=(ACTORS, "tests.integration.service.newer")):
        deployment.wait_for_end()

    assert (deployment.job(newer).state, deployment.job(newer).attempt) == ("completed", 1)
    deployment.check(faultless=True)
