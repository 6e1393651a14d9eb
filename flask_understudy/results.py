"""Dramatiq's results, read from the ledger: `message.get_result()`, for pipelines and groups too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dramatiq
from dramatiq.results import Missing, ResultBackend
from dramatiq.results.result import wrap_exception, wrap_result

from .ledger import queries

if TYPE_CHECKING:
    from .broker import LedgerBroker


class RecordedError(Exception):
    """Stands for an exception that the ledger recorded as text."""


class LedgerResults(ResultBackend):
    """Results need no store of their own: they stand on the job until its retention is over.

    Args:
        broker: The broker whose ledger is read.
    """

    def __init__(self, broker: LedgerBroker) -> None:
        super().__init__()
        self.broker = broker

    def build_message_key(self, message: dramatiq.Message[Any]) -> str:
        """Return the job's id."""
        return message.message_id

    def _get(self, message_key: str) -> Any:
        job = queries.find(self.broker.state.database, message_key)
        if job is None or job.finished_at is None:
            return Missing
        if job.state == "completed":
            return wrap_result(job.result)
        kind, _, text = (job.error or job.reason or job.state).partition(": ")
        return wrap_exception(type(kind if kind.isidentifier() else "RecordedError", (RecordedError,), {})(text))

    def store_result(self, message: Any, result: Any, ttl: int) -> None:
        """Nothing: the job's finish records it."""

    def store_exception(self, message: Any, exception: BaseException, ttl: int) -> None:
        """Nothing: the job's finish records it."""
