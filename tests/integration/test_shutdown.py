"""SIGTERM: what runs may end, the rest is handed back uncharged, and the command leaves in time (G11)."""

from __future__ import annotations

import os
import signal
import time

import pytest

from flask_understudy.operations import workers as operations
from tests.integration.deployment import Deployment
from tests.integration.service.actors import quick, silent, slow, stubborn
from tests.integration.workers import Workers


def stop_all(workers: Workers) -> None:
    """What a service manager does: SIGTERM for all, and the master passes on what its workers have had already."""
    for pid in workers.pids() - {workers.process.pid}:
        os.kill(pid, signal.SIGTERM)
    workers.wait_until(lambda: "Stopping worker process" in workers.output(), "the first signal to be heard", 10)
    workers.process.terminate()


@pytest.mark.requirement("promise-G11", "G3", "I2", "I9", "G09")
@pytest.mark.parametrize("whole_group", [False, True], ids=["master", "group"])
def test_running_jobs_end_and_the_rest_is_handed_back(deployment: Deployment, whole_group: bool, figure) -> None:
    deployment.send_many(silent, 60, 0.0)  # so short that jobs are claimed ahead
    ids = deployment.send_many(slow, 20, 1.5)
    with deployment.workers(threads=3) as workers:
        deployment.wait(lambda: len(deployment.effects("start")) >= 3, "running jobs")
        began = time.monotonic()
        if whole_group:
            stop_all(workers)
        else:
            workers.process.terminate()
        code = workers.leave()
        seconds = time.monotonic() - began

    running = {effect.job_id for effect in deployment.effects("start")}
    figure("s from SIGTERM to the end of the command", seconds)
    assert code == 0, workers.output()
    assert seconds < 15
    assert {effect.job_id for effect in deployment.effects()} == running
    rest = [deployment.job(id) for id in set(ids) - running]
    assert {(job.state, job.attempt, job.fence - job.hand_backs) for job in rest} == {("waiting", 0, 0)}
    assert max(job.hand_backs for job in rest) == 1, "no job was claimed ahead"
    assert not deployment.rows("SELECT id FROM understudy_workers WHERE kind = 'worker'")
    deployment.check(settled=False, faultless=True)

    with deployment.workers(threads=8):
        deployment.wait_for_end()
    assert sorted(effect.job_id for effect in deployment.effects()) == sorted(ids)
    deployment.check(faultless=True)


@pytest.mark.requirement("promise-G11", "I2")
@pytest.mark.parametrize("actor", [slow, stubborn], ids=["heeds the interrupt", "ignores it"])
def test_job_that_is_too_long_is_handed_back_uncharged(production: Deployment, actor, figure) -> None:
    id = production.send(actor, 60)
    with production.workers(environ={"QUEUE_SHUTDOWN_TIMEOUT": "7000"}) as workers:  # 2 s to end, 5 to hand back
        production.wait(lambda: production.effects("start"), "the job to run")
        began = time.monotonic()
        workers.process.terminate()
        code = workers.leave()
        seconds = time.monotonic() - began

    figure("s from SIGTERM to the end of the command", seconds)
    assert code == 0, workers.output()
    assert 2 <= seconds < 10
    job = production.job(id)
    assert (job.state, job.attempt, job.hand_backs, job.fence) == ("waiting", 0, 1, 1)
    production.check(settled=False)


@pytest.mark.requirement("promise-G11")
def test_idle_workers_leave_at_once(production: Deployment, figure) -> None:
    with production.workers(processes=2) as workers:
        id = production.send(quick)
        production.wait_for_end([id])
        began = time.monotonic()
        workers.process.terminate()
        code = workers.leave()

    figure("s from SIGTERM to the end of the command", time.monotonic() - began)
    assert code == 0, workers.output()
    assert time.monotonic() - began < 10
    assert not production.rows("SELECT id FROM understudy_workers WHERE kind = 'worker'")
    assert not production.rows("SELECT name FROM understudy_leases")
    production.check(faultless=True)


@pytest.mark.requirement("promise-G11", "I2")
def test_worker_that_is_stopped_after_its_jobs_ends_by_itself(deployment: Deployment) -> None:
    with deployment.workers(processes=2, threads=1) as workers:
        ids = deployment.send_many(slow, 2, 2.0)
        deployment.wait(lambda: len(deployment.effects("start")) == 2, "running jobs")
        late = deployment.send(quick)
        one, other = deployment.worker_pids(workers).values()

        assert operations.stop(deployment.app.extensions["understudy"], one) == [other]

        assert workers.process.wait(30) == 0, workers.output()
    assert {effect.job_id for effect in deployment.effects()} == set(ids)
    assert {(deployment.job(id).state, deployment.job(id).attempt) for id in ids} == {("completed", 1)}
    assert deployment.job(late).state == "waiting"
    assert not deployment.rows("SELECT id FROM understudy_workers WHERE kind = 'worker'")
    deployment.check(settled=False, faultless=True)
