"""Jobs in steps, whose processes die, stop and start while they are on their way."""

from __future__ import annotations

import pytest

from tests.integration.deployment import Deployment
from tests.integration.service.actors import five_steps, napping


@pytest.mark.requirement("B14", "T02", "G5", "G6", "I2", "I7")
@pytest.mark.parametrize("way", ["kept", "own"])
def test_each_step_of_a_job_that_is_killed_after_every_step_has_its_effect_once(
    deployment: Deployment, way: str
) -> None:
    id = deployment.send(five_steps, way)

    with deployment.supervised(threads=2):
        deployment.wait_for_end([id], seconds=100)

    job = deployment.job(id)
    assert (job.state, job.crashes) == ("completed", 1)  # the last one, after which it had no step left to do
    for n in range(5):
        assert len(deployment.effects(f"step {n}")) == 1
        assert len(deployment.effects(f"death {n}")) == 1
    steps = deployment.rows("SELECT * FROM understudy_steps ORDER BY position")
    assert [(step.name, step.state) for step in steps] == [(f"step {n}", "completed") for n in range(5)]
    deployment.check()


@pytest.mark.requirement("B14", "G1", "promise-G11")
def test_a_job_sleeps_over_the_restart_of_its_workers(deployment: Deployment) -> None:
    with deployment.workers(threads=2):
        id = deployment.send(napping, 4)
        deployment.wait(lambda: deployment.job(id).state == "delayed", "the job to sleep")
    assert deployment.job(id).state == "delayed"
    with deployment.workers(threads=2):
        deployment.wait_for_end([id], seconds=40)

    job = deployment.job(id)
    assert (job.state, job.attempt, job.fence, job.hand_backs) == ("completed", 1, 2, 0)
    for kind in ("before", "after", "end"):
        assert len(deployment.effects(kind)) == 1
    assert deployment.effects("before")[0].pid != deployment.effects("after")[0].pid
    deployment.check(faultless=True)
