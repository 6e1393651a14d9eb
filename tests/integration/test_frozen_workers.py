"""A worker sleeps longer than its lease and wakes up: whatever it does then changes nothing (G4)."""

from __future__ import annotations

import json

import pytest

from flask_understudy.clock import rescue
from flask_understudy.ledger import transitions
from flask_understudy.worker import WorkerProcess
from tests.integration.deployment import LEASE_SECONDS, Deployment
from tests.integration.service.actors import exact, quick, slow
from tests.integration.workers import Workers


def hold(deployment: Deployment, workers: Workers, ids: list[str]) -> str:
    """Wait until a worker runs the jobs; return its id."""
    (holder,) = deployment.worker_pids(workers).values()
    deployment.wait(lambda: len(deployment.effects("start")) == len(ids), "the jobs to run")
    assert {deployment.job(id).worker_id for id in ids} == {holder}
    return holder


def works_again(deployment: Deployment, frozen: Workers, others: Workers) -> None:
    """The worker that woke up is alone, and does what is asked."""
    frozen.thaw()
    others.process.terminate()
    others.leave()
    deployment.wait_for_end(deployment.send_many(quick, 3))
    assert frozen.is_running


@pytest.mark.requirement("G4", "G3", "I8", "invariant-I10")
def test_late_finish_of_a_frozen_worker_changes_nothing(deployment: Deployment, figure) -> None:
    ids = deployment.send_many(slow, 2, 1.5)
    with deployment.workers(threads=2) as frozen:
        holder = hold(deployment, frozen, ids)
        frozen.freeze(siblings=True)
        with deployment.workers(threads=2) as others:
            figure("s until others had done its jobs", deployment.wait_for_end(ids, seconds=LEASE_SECONDS + 25))
            before = [deployment.job(id) for id in ids]
            works_again(deployment, frozen, others)

    assert [deployment.job(id) for id in ids] == before
    assert {(job.result, job.worker_id == holder) for job in before} == {(2, False)}
    deployment.check()


@pytest.mark.requirement("G5", "G4", "invariant-I11")
def test_transaction_of_a_frozen_worker_is_rolled_back_when_its_job_was_done_by_another(
    production: Deployment,
) -> None:
    id = production.send(exact, 1.0)
    with production.workers(threads=1) as frozen:
        hold(production, frozen, [id])
        frozen.freeze()
        with production.workers(threads=1) as others:
            production.wait_for_end([id], seconds=LEASE_SECONDS + 25)
            works_again(production, frozen, others)

    assert (len(production.effects("exact")), production.job(id).fence) == (1, 2)
    production.check()


@pytest.mark.requirement("G4", "I2", "I5")
@pytest.mark.parametrize("suspects", [[], None], ids=["known", "unknown"])
def test_rescue_passes_over_a_job_whose_end_is_being_written(
    production: Deployment, suspects: list[str] | None
) -> None:
    id = production.send(quick)
    state = production.app.extensions["understudy"]
    late = WorkerProcess(state, "web", [], 1)
    late.heartbeat.enter()
    with state.database.claims() as connection:
        (claim,) = transitions.claim(connection, late.id, [id])
    production.change(
        "UPDATE understudy_workers SET lease_until = now() - interval '1 second', suspects = CAST(:s AS json)",
        s=json.dumps(suspects),
    )

    with state.database.transaction() as connection:
        assert transitions.complete(connection, late.id, [(id, claim.fence, None)])
        rescue(state)

    job = production.job(id)
    assert (job.state, job.fence, job.attempt) == ("completed", 1, 1)
    assert not production.rows("SELECT * FROM understudy_attempts")
    production.check(faultless=True)
