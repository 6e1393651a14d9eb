"""One clock leads; when it dies another does; and when two think they lead, the rows decide."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from flask_understudy.ledger import Schedule
from tests.integration.deployment import FAST, Deployment
from tests.integration.service.actors import quick
from tests.integration.service.ext import db, jobs

LEADS_SECONDS = float(FAST["UNDERSTUDY_CLOCK_LEASE_SECONDS"])


def leader(deployment: Deployment) -> str | None:
    found = deployment.rows("SELECT holder FROM understudy_leases WHERE name = 'clock'")
    return found[0].holder if found else None


@pytest.mark.requirement("promise-G10", "G1", "invariant-I14")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_another_clock_leads_when_the_leader_is_gone(deployment: Deployment, how: signal.Signals, figure) -> None:
    with deployment.workers() as first:
        (led,) = deployment.worker_pids(first).values()
        deployment.wait(lambda: leader(deployment) == led, "the first clock to lead")
        with deployment.workers() as second:
            (heir,) = deployment.worker_pids(second).values()
            ids = [deployment.send(quick, delay=600) for _ in range(3)]
            first.signal_all(how)
            gone = time.monotonic()
            deployment.wait(lambda: leader(deployment) == heir, "the second clock to lead", LEADS_SECONDS + 15)
            seconds = time.monotonic() - gone
            ids += [deployment.send(quick, delay=100) for _ in range(3)]
            deployment.wait_for_end(ids, seconds=LEADS_SECONDS + 10)
        first.thaw()

    figure("s until another clock led", seconds)
    assert seconds <= LEADS_SECONDS + 5
    deployment.check()


@pytest.mark.requirement("G7", "I6", "I9")
def test_schedule_fires_once_per_slot_though_clocks_fight_and_die(deployment: Deployment) -> None:
    stopped = threading.Event()

    def depose() -> None:
        """Take the lease from whoever has it, so that two clocks think they lead."""
        while not stopped.wait(0.2):
            deployment.change("DELETE FROM understudy_leases")

    with deployment.supervised(processes=2, environ={"SCHEDULER_ENABLED": "true"}) as supervisor:
        deployment.wait(lambda: deployment.effects("end", actor="tick"), "the first slot", 30)
        usurper = threading.Thread(target=depose)
        usurper.start()
        try:
            deployment.wait(lambda: len(deployment.effects("end", actor="tick")) >= 4, "slots", 20)
            os.kill(next(iter(deployment.worker_pids(supervisor.current))), signal.SIGKILL)
            killed = len(deployment.effects("end", actor="tick"))
            deployment.wait(lambda: len(deployment.effects("end", actor="tick")) >= killed + 3, "slots after it", 30)
        finally:
            stopped.set()
            usurper.join()
        supervisor.current.process.terminate()
        supervisor.current.leave()

    slots = Counter(row.slot for row in deployment.rows("SELECT slot FROM understudy_schedule_fires"))
    assert max(slots.values()) == 1
    assert len(slots) >= 7
    per_job = Counter(effect.job_id for effect in deployment.effects("end", actor="tick"))
    assert max(per_job.values()) == 1
    deployment.check(settled=False)


CLOCKS, SLOTS, BEHIND = 4, 50, timedelta(seconds=20)


@pytest.mark.requirement("G7", "I6", "F03")
@pytest.mark.timeout(240)
def test_fifty_slots_of_four_clocks_are_fifty_jobs_though_the_leader_is_killed(deployment: Deployment) -> None:
    """Some slots were missed before there was a clock, others while nobody led: `all` of them are made up for."""
    with deployment.app.app_context():
        jobs.schedules.register("fifty", quick, "every 1 second", missed="all")
        first = datetime.now(UTC).replace(microsecond=0) - BEHIND
        db.session.execute(update(Schedule).where(Schedule.name == "fifty").values(next_run_at=first))
        db.session.commit()

    def fired() -> list[datetime]:
        return [
            datetime.fromisoformat(str(row.slot)).replace(tzinfo=None)
            for row in deployment.rows(
                "SELECT f.slot FROM understudy_schedule_fires AS f JOIN understudy_schedules AS s ON s.id = f.schedule "
                "WHERE s.name = 'fifty' AND f.outcome = 'fired' ORDER BY f.slot"
            )
        ]

    with contextlib.ExitStack() as running:
        environ = {"SCHEDULER_ENABLED": "true"}
        programs = [running.enter_context(deployment.workers(ready=False, environ=environ)) for _ in range(CLOCKS)]
        deployment.wait(lambda: all(deployment.worker_pids(p) for p in programs), "four clocks", 90)
        deployment.wait(lambda: len(fired()) >= 10, "the slots that were missed", 60)
        led = leader(deployment)
        (leading,) = [p for p in programs if led in deployment.worker_pids(p).values()]
        leading.signal_all(signal.SIGKILL)
        deployment.wait(lambda: leader(deployment) not in {led, None}, "another clock to lead", LEADS_SECONDS + 15)
        deployment.wait(lambda: len(fired()) >= SLOTS, "fifty slots", 90)
        deployment.change("UPDATE understudy_schedules SET enabled = false")
        deployment.wait_for_end(seconds=60)

    slots = fired()
    gaps = {after - before for before, after in zip(slots, slots[1:], strict=False)}
    sent = [row.id for row in deployment.rows("SELECT id FROM understudy_jobs WHERE actor = 'quick'")]
    assert slots[0] == first.replace(tzinfo=None)
    assert gaps == {timedelta(seconds=1)}, "no slot is missing"
    assert len(sent) == len(slots) >= SLOTS
    assert {effect.job_id for effect in deployment.effects("end", actor="quick")} == set(sent)
    deployment.check()  # the killed process was a worker too: what it did may be done again (G3)
