"""What the rules of alerts allow: as the settings say, or as an operator set it over them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select

from ..errors import InvalidJob
from ..ledger import AlertThreshold
from ..ledger.episodes import BROKER
from ..ledger.statements import run
from ..state import State
from .transaction import reading, transaction

DEPTH, FAILURE_RATE, STALLED, GROWING, REPEATED = (
    "depth",
    "failure-rate",
    "stalled",
    "growing",
    "repeated-failures",
)
RULES = (DEPTH, FAILURE_RATE, STALLED, BROKER, GROWING, REPEATED)

REPEATED_FAILURES = 10
MOST = 10**9

#: The settings that say what holds when nobody set anything.
SETTINGS = {
    DEPTH: "UNDERSTUDY_ALERT_DEPTH",
    FAILURE_RATE: "UNDERSTUDY_ALERT_FAILURE_RATE",
    STALLED: "UNDERSTUDY_ALERT_STALLED_SECONDS",
    GROWING: "UNDERSTUDY_ALERT_DEPTH",
}

SET = """
INSERT INTO understudy_alert_thresholds (rule, threshold, set_by, set_at) VALUES (:rule, :threshold, :by, <now>)
ON CONFLICT (rule) DO UPDATE SET threshold = excluded.threshold, set_by = excluded.set_by, set_at = excluded.set_at"""


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a rule allows.

    Attributes:
        rule: Its name.
        threshold: The figure above which it is broken: jobs, a share, s, jobs that failed alike.
        default: What holds when no operator set it.
        setting: The setting that says that; None = the library does.
        set_by: By whom it was set; None = nobody.
        set_at: When.
    """

    rule: str
    threshold: float
    default: float
    setting: str | None
    set_by: str | None
    set_at: datetime | None


def listing(state: State) -> list[Threshold]:
    """Return what each rule allows now."""
    with reading(state) as session:
        rows = {row.rule: row for row in session.scalars(select(AlertThreshold))}
    config = state.config
    depth = rows[DEPTH].threshold if DEPTH in rows else config.alert_depth
    defaults = {
        DEPTH: config.alert_depth,
        FAILURE_RATE: config.alert_failure_rate,
        STALLED: config.alert_stalled_seconds,
        BROKER: 0,
        GROWING: depth / 2,
        REPEATED: REPEATED_FAILURES - 1,
    }
    found = []
    for rule, default in defaults.items():
        row = rows.get(rule)
        value = default if row is None else row.threshold
        by, at = (None, None) if row is None else (row.set_by, row.set_at)
        found.append(Threshold(rule, value, default, SETTINGS.get(rule), by, at))
    return found


def allowed(state: State) -> dict[str, float]:
    """Return the figure above which each rule is broken."""
    return {one.rule: one.threshold for one in listing(state)}


def find(state: State, rule: str) -> Threshold | None:
    """Return what a rule allows; None = there is no such rule."""
    return next((one for one in listing(state) if one.rule == rule), None)


def change(state: State, rule: str, threshold: float, by: str) -> None:
    """Let a rule allow something else than the settings say, from the clock's next evaluation on, in every process.

    Args:
        state: The application's side of the library.
        rule: Its name.
        threshold: The figure above which it is broken.
        by: Who says so.

    Raises:
        InvalidJob: There is no such rule, it allows nothing, or the figure is out of range.
    """
    check(rule, threshold)
    with transaction(state) as connection:
        run(connection, SET, rule=rule, threshold=float(threshold), by=by)


def reset(state: State, rule: str) -> None:
    """Let a rule allow again what the settings say.

    Raises:
        InvalidJob: There is no such rule, or it allows nothing.
    """
    check(rule, 1)
    with transaction(state) as connection:
        connection.execute(delete(AlertThreshold).where(AlertThreshold.rule == rule))


def check(rule: str, threshold: float) -> None:
    """Refuse what a rule cannot allow.

    Raises:
        InvalidJob: There is no such rule, it allows nothing, or the figure is out of range.
    """
    if rule == BROKER:
        raise InvalidJob("The rule 'broker' has no threshold: it is broken while the broker does not answer.")
    if rule not in RULES:
        raise InvalidJob(f"There is no rule {rule[:40]!r}; those with a threshold are {', '.join(_with_threshold())}.")
    wanted = "a share above 0 and up to 1, such as 0.1"
    is_valid = 0 < threshold <= 1
    if rule == STALLED:
        wanted, is_valid = "s, above 0 and up to a thousand million", 0 < threshold <= MOST
    elif rule != FAILURE_RATE:
        wanted, is_valid = f"a whole number of jobs from 1 to {MOST}", 1 <= threshold <= MOST and threshold % 1 == 0
    if not is_valid:
        raise InvalidJob(f"threshold is {threshold!r}; the rule {rule!r} takes {wanted}.")


def _with_threshold() -> list[str]:
    return [rule for rule in RULES if rule != BROKER]
