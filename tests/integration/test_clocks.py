"""One clock leads; when it dies another does; and when two think they lead, the rows decide."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter

import pytest

from tests.integration.deployment import FAST, Deployment
from tests.integration.service.actors import quick

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
