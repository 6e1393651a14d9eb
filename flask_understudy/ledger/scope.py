"""Whose jobs somebody may know of: the one gateway through which the doors reach the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, true

from .job import Job


@dataclass(frozen=True, slots=True)
class Scope:
    """A part of the ledger. What lies outside of it does not exist for whoever has the scope (P03, P04).

    Attributes:
        tenant: The tenant whose jobs it is about; None = every tenant's.
        job: The only job it is about; None = all of them.
    """

    tenant: str | None = None
    job: str | None = None

    def of(self, model: Any) -> ColumnElement[bool]:
        """Return the condition that rows of a table with a `tenant` column are within the scope."""
        condition: ColumnElement[bool] = true()
        if self.tenant is not None:
            condition = model.tenant == self.tenant
        if self.job is not None and model is Job:
            condition = condition & (Job.id == self.job)
        return condition


EVERYTHING = Scope()
