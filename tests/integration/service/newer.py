"""What the next release of the service adds."""

from __future__ import annotations

from tests.integration.service.ext import jobs, leave


@jobs.actor(queue_name="work", actor_name="brand_new", max_retries=3)
def brand_new() -> None:
    leave("end")
