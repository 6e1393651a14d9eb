"""Whose row a job works on: its own organisation's, whatever id it was given (requirement P10)."""

from __future__ import annotations

from flask_understudy import current_job


class NotOwn(ValueError):
    """A job was given the id of something that its organisation does not have; another try would not mend that."""


def check_own(tenant_id: str, what: str) -> None:
    """Let pass what belongs to the running job's organisation.

    A job of no organisation passes, for only the host's own code sends such, and so does what runs outside of jobs.

    Args:
        tenant_id: Whose it is.
        what: What it is, with its id.

    Raises:
        NotOwn: It is another organisation's, of which nothing is said.
    """
    tenant = current_job.tenant if current_job else ""
    if tenant and tenant != tenant_id:
        raise NotOwn(f"The organisation of the job has no {what}.")
