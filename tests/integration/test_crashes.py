"""Workers die with jobs in their hands (kill -9): none is lost, run for nothing, or blamed for another's crime."""

from __future__ import annotations

import os
import random
import signal
import time

import psutil
import pytest

from flask_understudy.clock import rescue
from flask_understudy.ledger import transitions
from tests.integration.deployment import LEASE_SECONDS, Deployment
from tests.integration.service.actors import crash_once, exact, gil_holding, parent, poison, quick, slow


def active_on(deployment: Deployment, worker: str) -> list[str]:
    found = deployment.rows("SELECT id FROM understudy_jobs WHERE state = 'active' AND worker_id = :w", w=worker)
    return [row.id for row in found]


@pytest.mark.requirement("G1", "G3", "promise-G10", "I1", "I2", "I8", "invariant-I14")
@pytest.mark.parametrize("what", ["process", "group", "machine"])
def test_jobs_of_killed_workers_are_done_by_others(deployment: Deployment, what: str, figure) -> None:
    with deployment.workers(threads=2) as others, deployment.workers(processes=2, threads=2) as doomed:
        pids = deployment.worker_pids(doomed)
        victims = {pid: pids[pid] for pid in sorted(pids)[:1]} if what == "process" else pids
        ids = deployment.send_many(slow, 8, 0.8)
        deployment.wait(lambda: all(len(active_on(deployment, w)) >= 2 for w in victims.values()), "active jobs")
        match what:
            case "process":
                os.kill(next(iter(victims)), signal.SIGKILL)
            case "group":
                doomed.kill_all()
            case "machine":
                doomed.lose()
        killed = time.monotonic()
        orphaned = {id for worker in victims.values() for id in active_on(deployment, worker)}
        deployment.wait(
            lambda: not any(active_on(deployment, w) for w in victims.values()), "the rescue", LEASE_SECONDS + 15
        )
        rescued = time.monotonic() - killed
        deployment.wait_for_end()
        assert others.is_running

    figure("s until the killed workers' jobs were taken back", rescued)
    assert len(orphaned) >= 2
    assert {effect.job_id for effect in deployment.effects()} == set(ids)
    assert set(deployment.states().values()) == {"completed"}
    assert rescued <= LEASE_SECONDS + 5
    deployment.check()


@pytest.mark.requirement("G5", "G1", "invariant-I11", "I7", "I8")
def test_work_in_a_jobs_transaction_is_done_once_whoever_is_killed(deployment: Deployment, dice: random.Random) -> None:
    ids = deployment.send_many(exact, 14, 0.15, 2)
    kills: list[float] = []
    with deployment.supervised(threads=2) as supervisor:
        while len(kills) < 3 and "waiting" in deployment.states().values():
            seen = len(deployment.effects("start"))
            deployment.wait(lambda seen=seen: len(deployment.effects("start")) > seen + 2, "jobs that run")
            time.sleep(dice.uniform(0.0, 0.3))
            victim = dice.choice(sorted(deployment.worker_pids(supervisor.current) or [0]))
            if victim:
                os.kill(victim, signal.SIGKILL)
                kills.append(time.time())
        deployment.wait_for_end(seconds=90)
        time.sleep(1)  # the last ones are completed by their transactions and have yet to return

    assert len(kills) >= 2
    completed = {move.job_id: move.at for move in deployment.rows("SELECT * FROM moves WHERE after = 'completed'")}
    for job in map(deployment.job, ids):
        cut_short = [at for at in kills if 0 <= at - completed[job.id] < 3]  # after its transaction, before its return
        assert job.result == job.fence or (job.result is None and cut_short)
    assert sorted(effect.job_id for effect in deployment.effects("exact")) == sorted(ids)
    children = deployment.rows("SELECT parent_id, count(*) AS n FROM understudy_jobs WHERE actor = 'quick' GROUP BY 1")
    assert {row.parent_id: row.n for row in children} == dict.fromkeys(ids, 2)
    assert set(deployment.states().values()) == {"completed"}
    deployment.check()


@pytest.mark.requirement("G6", "G3", "I2")
def test_job_that_kills_its_process_is_quarantined_and_its_neighbours_are_done(deployment: Deployment) -> None:
    neighbours = deployment.send_many(slow, 3, 1.0)
    culprit = deployment.send(poison)
    later = deployment.send_many(quick, 10)

    with deployment.supervised(threads=6):
        deployment.wait_for_end([*neighbours, culprit, *later], seconds=100)

    job = deployment.job(culprit)
    assert (job.state, job.reason, job.crashes) == ("failed", "poison", 3)
    assert len(deployment.effects("start", job_id=culprit)) <= 3
    for id in [*neighbours, *later]:
        innocent = deployment.job(id)
        assert (innocent.state, innocent.reason) == ("completed", None)
        assert innocent.crashes <= 1
    deployment.check()


@pytest.mark.requirement("G6", "G3")
def test_job_that_crashed_once_completes_alone(deployment: Deployment) -> None:
    unlucky = deployment.send(crash_once)
    others = deployment.send_many(parent, 3, 2)

    with deployment.supervised(threads=2):
        deployment.wait_for_end([unlucky, *others], seconds=60)
        deployment.wait_for_end()

    assert (deployment.job(unlucky).state, deployment.job(unlucky).crashes) == ("completed", 1)
    assert len(deployment.effects(job_id=unlucky)) == 1
    deployment.check()


@pytest.mark.requirement("G3", "I8", "I9")
def test_job_that_holds_the_interpreters_lock_longer_than_the_lease_runs_once(production: Deployment) -> None:
    with production.workers(threads=2) as keeper, production.workers(threads=2):
        id = production.send(gil_holding, int(LEASE_SECONDS * 2) + 1)
        production.wait_for_end([id], seconds=40)
        assert keeper.is_running

    assert production.job(id).fence == 1
    assert [effect.job_id for effect in production.effects("start")] == [id]
    production.check(faultless=True)


@pytest.mark.requirement("G3", "promise-G11", "I9")
def test_workers_whose_master_was_killed_end_in_good_order(production: Deployment) -> None:
    ids = production.send_many(slow, 8, 0.8)
    with production.workers(threads=2) as workers:
        production.wait(lambda: len(production.effects("start")) >= 2, "running jobs")
        (orphan,) = (psutil.Process(pid) for pid in production.worker_pids(workers))
        workers.process.kill()
        production.wait(lambda: not orphan.is_running(), "the orphaned worker to end", 20)

    assert len(production.effects()) == len(production.effects("start")) < len(ids)
    assert not production.rows("SELECT id FROM understudy_workers WHERE kind = 'worker'")
    production.check(settled=False, faultless=True)


@pytest.mark.requirement("G3", "promise-G10")
def test_sibling_that_was_killed_is_replaced(production: Deployment) -> None:
    with production.workers(threads=2) as workers:
        ((pid, worker),) = production.worker_pids(workers).items()
        (sibling,) = psutil.Process(pid).children()
        sibling.kill()
        production.wait(
            lambda: [child for child in psutil.Process(pid).children() if child.pid != sibling.pid], "another sibling"
        )
        ids = production.send_many(slow, 2, 0.5)
        production.wait(lambda: len(production.effects("start")) == 2, "running jobs")
        workers.kill_all()
        suspects = production.wait(
            lambda: production.rows("SELECT suspects FROM understudy_workers WHERE id = :id", id=worker)[0].suspects,
            "the new sibling's report",
            LEASE_SECONDS,
        )

    assert sorted(suspects) == sorted(ids)
    production.check(settled=False)


@pytest.mark.requirement("G1", "I1")
def test_job_of_a_worker_that_nobody_knows_is_taken_back(production: Deployment) -> None:
    id = production.send(quick)
    state = production.app.extensions["understudy"]
    with state.database.claims() as connection:
        assert transitions.claim(connection, "a worker whose row is gone", [id])

    assert rescue(state) == 1

    assert (production.job(id).state, production.job(id).crashes) == ("waiting", 1)
    production.check(settled=False)
