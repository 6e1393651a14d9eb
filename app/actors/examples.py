"""The job types of the second seed document that show how things are done (A26, A28 to A30, A33).

They do little, and are there to be tried: each can be sent over HTTP, with ``POST /api/jobs``.
"""

from __future__ import annotations

import random
import time
from typing import Any

from app.actors.email import queue_batch_emails, send_notification_email
from app.extensions import db, jobs
from app.models.user import User
from flask_understudy import current_job
from flask_understudy.contrib.mail import PERMANENT

QUEUE = "examples"
MOST_ITEMS = 100_000


@jobs.actor(queue_name=QUEUE, actor_name="flaky:job", max_retries=5, time_limit=60_000, api=True)
def fail_at_random(chance: float = 0.5, seed: int | None = None) -> str:
    """Fail now and then; six tries are mostly enough.

    Args:
        chance: How often it fails, from 0 to 1.
        seed: Makes it fail the same way each time: it is counted on with each attempt.
    """
    if random.Random(None if seed is None else seed + current_job.attempt).random() < chance:
        raise RuntimeError("Random failure")
    return "success"


@jobs.actor(queue_name=QUEUE, actor_name="long:task", time_limit=60_000, api=True)
def work_long(items: int = 100, milliseconds: int = 100) -> int:
    """Work on many things one after the other, and look in between whether to go on.

    Cancelled, it ends within one of them, and so does it when its time is over.

    Args:
        items: How many, up to 100,000.
        milliseconds: How long one takes, up to 1,000.
    """
    items, seconds = min(items, MOST_ITEMS), min(max(milliseconds, 0), 1_000) / 1_000
    for number in range(items):
        current_job.check_cancelled()
        time.sleep(seconds)
        current_job.progress(100 * (number + 1) / items)
    return items


@jobs.actor(queue_name=QUEUE, actor_name="reminder:send", api=True)
def send_reminder(user_id: str) -> None:
    """Remind a member of the sender's organisation of what is open, by mail.

    To be sent with a delay, such as 60,000 ms. Who has left meanwhile is not reminded.
    """
    person = db.session.get(User, user_id)
    if person is None or person.tenant_id != current_job.tenant:
        current_job.log("no reminder: the organisation has no user %s any more", user_id)
        return
    text = "You asked to be reminded: something is waiting for you."
    with current_job.transaction():  # the mail is queued and this job done, both or neither
        send_notification_email(person.email, person.name, "A reminder", text, "/exports")


@jobs.actor(queue_name=QUEUE, actor_name="report:send", throws=PERMANENT, api=True)
def send_report(report_id: str, recipients: list[str]) -> None:
    """Send the link to a report to several addresses, at a date for example."""
    data = {"title": f"The report {report_id}", "link": "/exports"}
    with current_job.transaction():
        queue_batch_emails([{"to": address, "type": "report-ready", "data": data} for address in recipients])


@jobs.actor(queue_name=QUEUE, actor_name="critical:job", api=True)
def do_critical_work(order_id: str, outcome: str = "done") -> Any:
    """Say what happens, raise what is worth another try, return what is not.

    Args:
        order_id: What it is about; it stands in each line of the log.
        outcome: What to show: ``done``, ``unreachable`` (raised and tried again) or ``refused`` (fails at once).
    """
    current_job.log("working on order %s, attempt %d", order_id, current_job.attempt)
    if outcome == "unreachable":
        current_job.log("order %s: the warehouse cannot be reached", order_id)
        raise ConnectionError("the warehouse cannot be reached")
    if outcome == "refused":
        return {"status": "failed", "reason": f"the order {order_id} was refused"}
    return {"order": order_id}


def send_samples(tenant_id: str) -> int:
    """Send jobs of an organisation for people to look at: most complete, some fail, one takes long, one is for later.

    Args:
        tenant_id: The organisation.

    Returns:
        How many jobs.
    """

    def order(number: int, outcome: str = "done", **options: Any) -> Any:
        return do_critical_work.message_with_options(args=(str(number), outcome), tenant=tenant_id, **options)

    samples = [
        *(order(number) for number in range(4711, 4745)),
        *(order(number, "refused") for number in (4750, 4751, 4752)),
        order(4790, delay=3_600_000),
    ]
    return len(jobs.send_many(samples))
