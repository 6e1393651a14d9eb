"""The invariants of docs/guarantees that a database can be asked about, checked after every fault.

A trigger on the jobs notes each move of each job, so that what happened in between is known too. The rest is in the
library's own tables and in the service's `effects`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, create_engine, text
from sqlalchemy.pool import NullPool

LIVE = {"delayed", "waiting", "active"}
TERMINAL = {"completed", "failed", "cancelled"}
MOST_HAND_BACKS = 50
MOST_CRASHES = 3

#: Every move that docs/job-states.md draws, T1 to T12; None is "not there".
MOVES = {
    (None, "waiting"),
    (None, "delayed"),
    ("delayed", "waiting"),
    ("waiting", "active"),
    ("active", "completed"),
    ("active", "failed"),
    ("active", "cancelled"),
    ("active", "delayed"),
    ("active", "waiting"),
    ("waiting", "cancelled"),
    ("delayed", "cancelled"),
    ("waiting", "failed"),
    ("delayed", "failed"),
    ("failed", "waiting"),
    ("cancelled", "waiting"),
    ("completed", None),
    ("failed", None),
    ("cancelled", None),
}

_POSTGRESQL = """
CREATE TABLE moves (n bigserial PRIMARY KEY, job_id text NOT NULL, before text, after text, fence integer NOT NULL,
    worker_id text, at double precision DEFAULT extract(epoch FROM clock_timestamp()));
CREATE FUNCTION note_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO moves (job_id, after, fence) VALUES (NEW.id, NEW.state, NEW.fence);
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO moves (job_id, before, after, fence, worker_id)
        VALUES (NEW.id, OLD.state, NEW.state, NEW.fence, NEW.worker_id);
    ELSE
        INSERT INTO moves (job_id, before, fence) VALUES (OLD.id, OLD.state, OLD.fence);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note_move AFTER INSERT OR DELETE OR UPDATE OF state ON understudy_jobs
    FOR EACH ROW EXECUTE FUNCTION note_move();
"""

_SQLITE = """
CREATE TABLE moves (n integer PRIMARY KEY, job_id text NOT NULL, before text, after text, fence integer NOT NULL,
    worker_id text, at real DEFAULT ((julianday('now') - 2440587.5) * 86400));
CREATE TRIGGER note_insert AFTER INSERT ON understudy_jobs BEGIN
    INSERT INTO moves (job_id, after, fence) VALUES (NEW.id, NEW.state, NEW.fence); END;
CREATE TRIGGER note_update AFTER UPDATE OF state ON understudy_jobs BEGIN
    INSERT INTO moves (job_id, before, after, fence, worker_id)
    VALUES (NEW.id, OLD.state, NEW.state, NEW.fence, NEW.worker_id); END;
CREATE TRIGGER note_delete AFTER DELETE ON understudy_jobs BEGIN
    INSERT INTO moves (job_id, before, fence) VALUES (OLD.id, OLD.state, OLD.fence); END;
"""


def note_moves(connection: Connection) -> None:
    """Make the database note each move of each job from now on."""
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        driver.executescript(_SQLITE)
    else:
        driver.execute(_POSTGRESQL)
        driver.commit()


@dataclass(slots=True)
class Ledger:
    """Everything there is to judge, read in one go."""

    jobs: dict[str, Row[Any]]
    attempts: dict[str, list[Row[Any]]]
    moves: dict[str, list[Row[Any]]]
    effects: dict[str, list[Row[Any]]]
    fires: list[Row[Any]]
    workers: set[str]
    reopened: set[str]


def read(database_url: str) -> Ledger:
    """Read what the invariants are about."""
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.connect() as connection:

        def rows(query: str) -> list[Row[Any]]:
            return list(connection.execute(text(query)))

        return Ledger(
            jobs={row.id: row for row in rows("SELECT * FROM understudy_jobs")},
            attempts=_by_job(rows("SELECT * FROM understudy_attempts ORDER BY fence")),
            moves=_by_job(rows("SELECT * FROM moves ORDER BY n")),
            effects=_by_job(rows("SELECT * FROM effects ORDER BY id")),
            fires=rows("SELECT * FROM understudy_schedule_fires"),
            workers={row.id for row in rows("SELECT id FROM understudy_workers")},
            reopened={row.job_id for row in rows("SELECT job_id FROM understudy_job_events WHERE kind = 'retried'")},
        )


def check_invariants(database_url: str, *, settled: bool = True, faultless: bool = False) -> Ledger:
    """Check I1 to I11 (I12 to I14 are about brokers and seconds).

    Args:
        database_url: The service's database, prepared by `note_moves`.
        settled: Whether everything must have ended by now.
        faultless: Whether nothing happened that may make a job run twice (G3): every effect must be there once (I9).

    Raises:
        AssertionError: With every violation found.
    """
    ledger = read(database_url)
    found = list(_violations(ledger, settled, faultless))
    assert not found, "\n".join([f"{len(found)} violations:", *found[:40]])
    return ledger


def _violations(ledger: Ledger, settled: bool, faultless: bool) -> Iterator[str]:
    for job in ledger.jobs.values():
        for broken in _job(ledger, job, settled):
            yield f"{broken} [{_story(ledger, job)}]"
        for broken in _effects(ledger, job, faultless):
            yield f"{broken} [{_story(ledger, job)}]"
    for id, moves in ledger.moves.items():
        if id not in ledger.jobs and moves[-1].after is not None:
            yield f"I1: job {id} is gone and nothing deleted it"
    for id, effects in ledger.effects.items():
        if id not in ledger.moves:
            yield f"I7, G2: {effects[0].actor} {id} ran and was never accepted"
    yield from _slots(ledger)


def _job(ledger: Ledger, job: Row[Any], settled: bool) -> Iterator[str]:
    moves, attempts = ledger.moves[job.id], ledger.attempts.get(job.id, [])
    claims = [move for move in moves if move.after == "active"]
    handed_back = sum(attempt.outcome in {"handed_back", "suspended"} for attempt in attempts)

    if job.state not in LIVE | TERMINAL or (settled and job.state in LIVE):
        yield f"I1: it is {job.state}"
    if job.state == "active" and job.worker_id not in ledger.workers:
        yield "I1: it is active and its worker is unknown"
    if job.state == "waiting" and job.worker_id is not None and not attempts and job.id not in ledger.reopened:
        yield "I1: it was taken back and no attempt says so"

    if len(claims) != job.fence:
        yield f"I2, I10: {len(claims)} claims and fence {job.fence}"
    if job.fence != job.attempt + handed_back:
        yield f"I2: {job.fence} claims are not {job.attempt} attempts + {handed_back} hand-backs and suspensions"
    if job.max_attempts is not None and job.attempt > job.max_attempts:
        yield f"I2: attempt {job.attempt} of {job.max_attempts}"
    if job.hand_backs > MOST_HAND_BACKS or job.crashes > MOST_CRASHES:
        yield f"I2, G6: {job.hand_backs} hand-backs, {job.crashes} crashes"
    if (ended := {attempt.fence for attempt in attempts}) - {claim.fence for claim in claims}:
        yield f"I2: attempts {sorted(ended)} were recorded and not all were claimed"
    open_ = {claim.fence for claim in claims} - ended
    if open_ - {job.fence} or (job.state in {"waiting", "delayed"} and open_):
        yield f"I2: nothing says how the claims {sorted(open_)} ended"

    before, fence = None, 0
    for move in moves:
        if move.before != before or (move.before, move.after) not in MOVES:
            yield f"I3, I4, I5: {move.before} to {move.after} is no move after {before}"
        if move.before in {"failed", "cancelled"} and move.after and job.id not in ledger.reopened:
            yield f"I3, I4: it left {move.before} though nobody asked"
        if move.after == "active" and move.fence != fence + 1:
            yield f"I10, G4: claim {move.fence} follows claim {fence}"
        if move.after != "active" and move.fence != fence:
            yield f"I10, G4: {move.after} was written with fence {move.fence} while {fence} held"
        before, fence = move.after, move.fence
    if before != job.state:
        yield f"I5: it is {job.state} and the last move was to {before}"


def _effects(ledger: Ledger, job: Row[Any], faultless: bool) -> Iterator[str]:
    effects = ledger.effects.get(job.id, [])
    claimed = {move.fence for move in ledger.moves[job.id] if move.after == "active"}
    causes = {attempt.fence: attempt.outcome for attempt in ledger.attempts.get(job.id, [])}
    counts: dict[tuple[str, int], int] = defaultdict(int)
    for effect in effects:
        counts[effect.kind, effect.fence] += 1
        if effect.fence not in claimed:
            yield f"I7: effect {effect.kind} of claim {effect.fence}, and there was none"
        if effect.fence != job.fence and effect.fence not in causes:
            yield f"I8: claim {effect.fence} had its effect and was run again for no reason on record"
    for (kind, fence), n in counts.items():
        if n > 1:
            yield f"I7: claim {fence} left {n} effects {kind}"
    exact = sum(effect.kind == "exact" for effect in effects)
    if job.actor == "exact" and exact != (job.state == "completed"):
        yield f"I11, G5: {exact} effects of a transaction that is {job.state}"
    if faultless and (ends := sum(effect.kind == "end" for effect in effects)) > 1:
        yield f"I9: {ends} effects without a fault"


def _slots(ledger: Ledger) -> Iterator[str]:
    fired = [(fire.schedule, fire.slot) for fire in ledger.fires]
    if len(set(fired)) != len(fired):
        yield "I6: a slot fired twice"
    sent = {fire.job_id for fire in ledger.fires if fire.outcome == "fired"}
    ticks = {job.id for job in ledger.jobs.values() if job.actor == "tick"}
    if sent - set(ledger.moves) or ticks - sent:
        yield f"I6: {len(sent)} slots fired and {len(ticks)} jobs came of it"


def _story(ledger: Ledger, job: Row[Any]) -> str:
    moves = " ".join(f"{move.after}#{move.fence}" for move in ledger.moves[job.id])
    attempts = " ".join(f"{a.fence}:{a.outcome}" for a in ledger.attempts.get(job.id, []))
    effects = " ".join(f"{e.kind}#{e.fence}" for e in ledger.effects.get(job.id, []))
    return (
        f"{job.actor} {job.id}: {moves}; attempt {job.attempt}, hand-backs {job.hand_backs}, crashes {job.crashes}, "
        f"reason {job.reason}; attempts {attempts or '-'}; effects {effects or '-'}"
    )


def _by_job(rows: list[Row[Any]]) -> dict[str, list[Row[Any]]]:
    grouped: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        grouped[row.job_id].append(row)
    return dict(grouped)
