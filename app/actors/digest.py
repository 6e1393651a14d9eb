"""The digest: what is new, to each member of each organisation, once a day (requirements A31, E08)."""

from __future__ import annotations

from typing import Any, Literal

from app.actors.email import MOST_OF_A_BATCH, QUEUE, queue_batch_emails
from app.extensions import db, jobs
from app.models.base import utcnow
from app.services import digest
from flask_understudy import Principal, acting_as, current_job
from flask_understudy.contrib.mail import PERMANENT, InvalidMail, parse_address

EVERY_MORNING = "0 9 * * *"


@jobs.schedule(EVERY_MORNING, timezone=digest.ZONE.key, name="daily-digest", kwargs={"digest_type": digest.DAILY})
@jobs.actor(queue_name=QUEUE, actor_name="email:digest", time_limit=600_000, fallback="hold", throws=PERMANENT)
def send_digest(digest_type: Literal["daily"]) -> dict[str, Any]:
    """Mail what is new to each member with a verified address who has news.

    Run again for the same day, as after a crash, it queues what is missing and nothing twice.
    """
    period = digest.period_of(digest_type, utcnow())
    people = 0
    for tenant_id, everybody in digest.of_everybody(period):
        db.session.rollback()  # nothing was written; no transaction stays open while mails are queued
        found = [each for each in everybody if _has_address(each)]
        for first in range(0, len(found), MOST_OF_A_BATCH):
            _queue(tenant_id, digest_type, period, found[first : first + MOST_OF_A_BATCH])
        people += len(found)
        current_job.check_cancelled()
    return {"period": period.name, "people": people}


def _has_address(each: digest.Digest) -> bool:
    try:
        parse_address(each.email)
    except InvalidMail as problem:  # one that cannot be sent harms no other
        current_job.log("no digest for %s: %s", each.user_id, problem)
        return False
    return True


def _queue(tenant_id: str, digest_type: str, period: digest.Period, found: list[digest.Digest]) -> None:
    mails = [{"to": each.email, "type": "digest", "data": each.data} for each in found]
    keys = [f"digest:{digest_type}:{period.until:%Y-%m-%d}:{each.user_id}" for each in found]
    with acting_as(Principal(subject="", tenant=tenant_id)):
        queue_batch_emails(mails, name=f"The {digest_type} digest of {period.name}", keys=keys)
