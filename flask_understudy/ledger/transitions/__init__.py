"""The only writer of `Job.state`: each legal move (T1 to T12 of docs/job-states.md) is one guarded statement.

Every guard stands in the statement itself and every time is the database's, so two processes that disagree about the
world cannot both win. Functions take a connection and leave the transaction to the caller. Those that end jobs, or undo
that, tally it in the same transaction (`ledger.tallies`).
"""

from .changing import amend, cancel, drain, expire, hasten, make_due, promote, reopen, request_cancel, wake
from .claiming import claim, claim_next, claim_within, strays
from .ending import MAX_CRASHES, MAX_HAND_BACKS, complete, crashes, end, rescue
from .records import Claimed, Due, Ending, NewJob, Stray
from .removing import delete, forget, prune, record_event, trim
from .sending import insert

__all__ = [
    "MAX_CRASHES",
    "MAX_HAND_BACKS",
    "Claimed",
    "Due",
    "Ending",
    "NewJob",
    "Stray",
    "amend",
    "cancel",
    "claim",
    "claim_next",
    "claim_within",
    "complete",
    "crashes",
    "delete",
    "drain",
    "end",
    "expire",
    "forget",
    "hasten",
    "insert",
    "make_due",
    "promote",
    "prune",
    "record_event",
    "reopen",
    "request_cancel",
    "rescue",
    "strays",
    "trim",
    "wake",
]
