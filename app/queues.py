"""The queues of the service and how each treats its jobs (requirements D, G11, N01, N02).

Attempts count the first try; times are milliseconds, as in Dramatiq's options; attempt ``n`` waits
``min_backoff * backoff_factor ** (n - 2)``. An actor's own options beat these.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

SECOND = 1_000
MINUTE = 60 * SECOND

POLICIES: dict[str, dict[str, Any]] = {
    # Mail goes first (G13); five tries because delivery matters (D10).
    "email": {
        "priority": 2,
        "attempts": 5,
        "min_backoff": 5 * SECOND,
        "backoff_factor": 5,
        "time_limit": 30 * SECOND,
        "keep_completed": dt.timedelta(days=1),
        "keep_failed": dt.timedelta(days=7),
    },
    # A user's own exports (D08); a failed one stays for a month (N01).
    "exports": {
        "priority": 3,
        "attempts": 3,
        "min_backoff": 2 * SECOND,
        "backoff_factor": 2,
        "time_limit": 10 * MINUTE,
        "keep_completed": dt.timedelta(days=1),
        "keep_failed": dt.timedelta(days=30),
    },
    # Reports that somebody waits for (D11).
    "reports": {
        "priority": 3,
        "attempts": 3,
        "min_backoff": 5 * SECOND,
        "backoff_factor": 5,
        "time_limit": 5 * MINUTE,
        "keep_completed": dt.timedelta(days=1),
        "keep_failed": dt.timedelta(days=7),
    },
    # An organisation's data: costly, so two tries (D12).
    "data-exports": {
        "priority": 4,
        "attempts": 2,
        "min_backoff": 5 * SECOND,
        "backoff_factor": 5,
        "time_limit": 10 * MINUTE,
        "keep_completed": dt.timedelta(days=1),
        "keep_failed": dt.timedelta(days=30),
    },
    # Somebody else's server: longer pauses (D13).
    "webhooks": {
        "priority": 3,
        "attempts": 5,
        "min_backoff": 10 * SECOND,
        "backoff_factor": 5,
        "time_limit": 30 * SECOND,
        "keep_completed": dt.timedelta(days=1),
        "keep_failed": dt.timedelta(days=7),
    },
    # A new organisation (D14).
    "tenant-onboarding": {
        "priority": 3,
        "attempts": 3,
        "min_backoff": 5 * SECOND,
        "backoff_factor": 5,
        "time_limit": 5 * MINUTE,
        "keep_completed": dt.timedelta(days=1),
        "keep_failed": dt.timedelta(days=7),
    },
    # Tokens of other services: two tries, and the next round comes in five minutes (D03).
    "integrations": {
        "priority": 3,
        "attempts": 2,
        "min_backoff": 5 * SECOND,
        "backoff_factor": 5,
        "time_limit": 30 * SECOND,
        "keep_completed": dt.timedelta(days=1),
        "keep_failed": dt.timedelta(days=7),
    },
    # What people are paid: four tries (D02).
    "payroll": {
        "priority": 3,
        "attempts": 4,
        "min_backoff": 5 * SECOND,
        "backoff_factor": 5,
        "time_limit": 10 * MINUTE,
        "keep_completed": dt.timedelta(days=1),
        "keep_failed": dt.timedelta(days=30),
    },
    # Automated workflows: three tries (D04); a failed one stays as long as its execution (E07).
    "workflows": {
        "priority": 3,
        "attempts": 3,
        "min_backoff": 5 * SECOND,
        "backoff_factor": 5,
        "time_limit": 5 * MINUTE,
        "keep_completed": dt.timedelta(days=1),
        "keep_failed": dt.timedelta(days=30),
    },
    # Maintenance, when nothing else is due (D15, C22).
    "cleanup": {
        "priority": 5,
        "attempts": 3,
        "min_backoff": 5 * SECOND,
        "backoff_factor": 5,
        "time_limit": 10 * MINUTE,
        "keep_completed": dt.timedelta(days=1),
        "keep_failed": dt.timedelta(days=7),
    },
}
