"""The statements of the legal moves of a job, T1 to T12 of docs/job-states.md: each with its guard inside.

`transitions` runs them; nothing else does. The macros are those of `statements`.
"""

from __future__ import annotations

from .turns import LATEST, TURN

_ROW = (
    "id text, tenant text, owner text, queue text, actor text, state text, priority integer, args text, kwargs text, "
    "options text, fallback text, tags text, dedup_key text, correlation_id text, parent_id text, run_at text, "
    "delay_ms bigint, expires_at text, max_attempts integer, sensitive boolean, replay_of text, "
    "event_id text, limit_key text, batch_id text, debounce_key text"
)

_COLUMNS = """id, tenant, owner, queue, actor, state, priority, args, kwargs, options, fallback, tags,
    dedup_key, correlation_id, parent_id, run_at, expires_at, created_at, max_attempts, sensitive, replay_of,
    event_id, limit_key, gate, batch_id, debounce_key"""

_VALUES = """r.id, r.tenant, r.owner, r.queue, r.actor, r.state, r.priority, <json:r.args>, <json:r.kwargs>,
    <json:r.options>, r.fallback, <json:r.tags>, r.dedup_key, r.correlation_id, r.parent_id,
    coalesce(<time:r.run_at>, <after:r.delay_ms>), <time:r.expires_at>, <now>, r.max_attempts, r.sensitive,
    r.replay_of, r.event_id, r.limit_key, r.limit_key, r.batch_id, r.debounce_key"""

INSERT = f"""
INSERT INTO understudy_jobs ({_COLUMNS})
SELECT {_VALUES}
FROM <rows:{_ROW}> WHERE true
ON CONFLICT DO NOTHING
RETURNING id, <ms:{TURN}>"""  # noqa: S608 - constants of this module

#: A job of a debounce, or the last one of a throttle: where one is delayed already, that one takes over its arguments.
#: `:pushes` moves its time as well, `:most_ms` after it was first sent at the latest.
INSERT_OR_RENEW = f"""
INSERT INTO understudy_jobs ({_COLUMNS})
SELECT {_VALUES}
FROM <rows:{_ROW}> WHERE true
ON CONFLICT (tenant, debounce_key) WHERE debounce_key IS NOT NULL AND state = 'delayed' DO UPDATE SET
    args = excluded.args, kwargs = excluded.kwargs,
    run_at = CASE WHEN NOT :pushes THEN understudy_jobs.run_at
        WHEN excluded.run_at > <later:understudy_jobs.created_at by :most_ms>
            THEN <later:understudy_jobs.created_at by :most_ms>
        ELSE excluded.run_at END
RETURNING id, <ms:{TURN}>"""  # noqa: S608

#: Likewise; a row with an `nth` is the n-th of its queue, tenant and priority that takes a turn.
INSERT_IN_TURN = f"""
WITH given AS MATERIALIZED (SELECT * FROM <rows:{_ROW}, nth integer>),
latest AS MATERIALIZED (SELECT g.queue, g.tenant, g.priority, {LATEST} AS latest_at
    FROM (SELECT DISTINCT queue, tenant, priority FROM given WHERE nth IS NOT NULL) AS g)
INSERT INTO understudy_jobs ({_COLUMNS}, turn_at)
SELECT {_VALUES}, CASE WHEN r.nth IS NOT NULL THEN <turn:r.nth> END
FROM given AS r LEFT JOIN latest AS l ON l.queue = r.queue AND l.tenant = r.tenant AND l.priority = r.priority
WHERE true
ON CONFLICT DO NOTHING
RETURNING id, <ms:{TURN}>"""  # noqa: S608

_CLAIMED = f"""attempt = attempt + 1, fence = fence + 1, state = 'active', worker_id = :worker, started_at = <now>,
    parked = false, cancel_requested_at = NULL
FROM due WHERE id = due_id
RETURNING id, queue, actor, <text:args>, <text:kwargs>, <text:options>, <ms:created_at>, tenant, owner, priority,
    correlation_id, attempt, max_attempts, fence, crashes, hand_backs, sensitive, <ms:run_at>, <ms:{TURN}>,
    <sequence>, limit_key, batch_id"""

#: May run as far as the job itself goes: let through its gate, not expired, and no suspect where none is wanted.
FRESH = "gate IS NULL AND (expires_at IS NULL OR expires_at > <now>) AND (crashes = 0 OR :suspects)"

#: What nobody paused or limited; the rest is claimed by `CLAIM_WITHIN`, which `limits` counts for.
_CLAIMABLE = f"""{FRESH}
    AND queue NOT IN (SELECT name FROM understudy_queues WHERE paused_at IS NOT NULL OR concurrency IS NOT NULL)
    AND tenant NOT IN (SELECT name FROM understudy_tenants WHERE paused_at IS NOT NULL OR concurrency IS NOT NULL)"""  # noqa: S608

CLAIM = f"""
WITH due AS (SELECT id AS due_id FROM understudy_jobs
    WHERE id <any:ids> AND (:any_queue OR queue = :queue) AND <apart:state> = 'waiting' AND {_CLAIMABLE} AND <unsynced>
    <skip locked>)
UPDATE understudy_jobs SET {_CLAIMED}"""  # noqa: S608

CLAIM_NEXT = f"""
WITH due AS (SELECT id AS due_id FROM understudy_jobs
    WHERE queue = :queue AND state = 'waiting' AND NOT parked AND {_CLAIMABLE} AND <unsynced>
    ORDER BY <in order> LIMIT :n <skip locked>)
UPDATE understudy_jobs SET {_CLAIMED}"""  # noqa: S608

#: Claims jobs for which room was found under the lock of `limits`, in these queues and of these tenants.
CLAIM_WITHIN = f"""
WITH due AS (SELECT id AS due_id FROM understudy_jobs
    WHERE id <any:ids> AND <apart:state> = 'waiting' AND {FRESH}
    AND queue NOT IN (SELECT name FROM understudy_queues
        WHERE paused_at IS NOT NULL OR (concurrency IS NOT NULL AND (name <any:queues>) <> true))
    AND tenant NOT IN (SELECT name FROM understudy_tenants
        WHERE paused_at IS NOT NULL OR (concurrency IS NOT NULL AND (name <any:tenants>) <> true))
    AND <unsynced> <skip locked>)
UPDATE understudy_jobs SET {_CLAIMED}"""  # noqa: S608

#: Holds for the jobs of `:ids` that are still this worker's. Always found by primary key: the index of held jobs keeps
#: the entries of finished ones until vacuum, and grows without end beside a long transaction.
_HELD = """understudy_jobs.id <any:ids> AND understudy_jobs.id = r.id AND understudy_jobs.fence = r.fence
    AND <apart:understudy_jobs.worker_id> = :worker AND <apart:understudy_jobs.state> = 'active'"""

COMPLETE = f"""
UPDATE understudy_jobs SET state = 'completed', finished_at = <now>, progress = 100, error = NULL, reason = NULL,
    result = <json:r.result>
FROM <rows:id text, fence integer, result text> WHERE {_HELD}
RETURNING understudy_jobs.id, tenant, queue, actor, <ms since:started_at>, <waited>"""  # noqa: S608

_ENDING = (
    "id text, fence integer, state text, delay_ms bigint, charged integer, outcome text, error text, traceback text, "
    "reason text, result text, crashes integer, fingerprint text"
)

RECORD_ATTEMPTS = f"""
INSERT INTO understudy_attempts (job_id, fence, number, worker_id, started_at, finished_at, outcome, error, traceback)
SELECT r.id, r.fence, attempt, worker_id, started_at, <now>, r.outcome, r.error, r.traceback
FROM <rows:{_ENDING}> JOIN understudy_jobs ON {_HELD} WHERE true
ON CONFLICT DO NOTHING"""  # noqa: S608

#: Asked before `END`, which overwrites when the job was due.
WAITED = "SELECT id, <waited> FROM understudy_jobs WHERE id <any:ids>"

END = f"""
UPDATE understudy_jobs SET
    state = CASE WHEN cancel_requested_at IS NOT NULL AND r.state IN ('delayed', 'waiting') THEN 'cancelled'
        ELSE r.state END,
    finished_at = CASE WHEN r.state IN ('failed', 'cancelled') OR cancel_requested_at IS NOT NULL THEN <now> END,
    run_at = CASE WHEN r.state = 'delayed' THEN <after:r.delay_ms> ELSE run_at END,
    turn_at = CASE WHEN r.state = 'delayed' THEN NULL ELSE turn_at END, gate = limit_key, debounce_key = NULL,
    attempt = attempt - 1 + r.charged,
    hand_backs = hand_backs + CASE WHEN r.outcome = 'handed_back' THEN 1 ELSE 0 END,
    crashes = understudy_jobs.crashes + r.crashes,
    error = coalesce(r.error, understudy_jobs.error),
    reason = CASE WHEN cancel_requested_at IS NOT NULL AND r.state <> 'failed'
        THEN coalesce(understudy_jobs.reason, r.reason) ELSE r.reason END,
    fingerprint = coalesce(r.fingerprint, understudy_jobs.fingerprint), result = <json:r.result>
FROM <rows:{_ENDING}> WHERE {_HELD}
RETURNING understudy_jobs.id, understudy_jobs.state, tenant, queue, actor, <ms since:started_at>"""  # noqa: S608

STRAYS = f"""
SELECT id, fence, queue, priority, <ms:{TURN}> FROM understudy_jobs
WHERE worker_id = :worker AND state = 'active' AND started_at < <after::age_ms>"""  # noqa: S608

PROMOTE = """
WITH due AS (SELECT id AS due_id FROM understudy_jobs WHERE state = 'delayed' AND run_at <= <now>
    ORDER BY run_at LIMIT :n <skip locked>)
UPDATE understudy_jobs SET state = 'waiting' FROM due WHERE id = due_id
RETURNING id, queue, priority, <ms:run_at>, tenant, gate"""

HASTEN = """
UPDATE understudy_jobs SET state = 'waiting'
WHERE state = 'delayed' AND (:any_id OR id <any:ids>) AND (:any_queue OR queue = :queue)"""

CANCEL = """
UPDATE understudy_jobs SET state = 'cancelled', finished_at = <now>, reason = :reason
WHERE id <any:ids> AND state IN ('delayed', 'waiting') RETURNING id, tenant, queue, actor"""

DRAIN = """
UPDATE understudy_jobs SET state = 'cancelled', finished_at = <now>, reason = 'drained'
WHERE id IN (SELECT id FROM understudy_jobs WHERE queue = :queue AND state <any:states>
    AND (:any_tenant OR tenant = :tenant) LIMIT :n)
AND state IN ('delayed', 'waiting') RETURNING tenant, queue, actor"""

REQUEST_CANCEL = """
UPDATE understudy_jobs SET cancel_requested_at = coalesce(cancel_requested_at, <now>),
    reason = CASE WHEN cancel_requested_at IS NULL THEN :reason ELSE reason END
WHERE id <any:ids> AND state = 'active' RETURNING id"""

EXPIRE = """
WITH due AS (SELECT id AS due_id FROM understudy_jobs
    WHERE state IN ('delayed', 'waiting') AND expires_at IS NOT NULL AND expires_at <= <now> LIMIT :n <skip locked>)
UPDATE understudy_jobs SET state = 'failed', reason = 'expired', error = 'Expired before it could run',
    fingerprint = 'expired:' || replace(actor, '/', ':'),
    finished_at = <now>
FROM due WHERE id = due_id
RETURNING id, queue, actor, tenant, attempt"""

#: A job whose key a live one holds stays as it is.
REOPEN = """
UPDATE understudy_jobs SET state = 'waiting', run_at = <now>, turn_at = NULL, parked = false, gate = limit_key,
    finished_at = NULL, reason = NULL, crashes = 0, hand_backs = 0, cancel_requested_at = NULL, expires_at = NULL,
    progress = 0,
    max_attempts = CASE WHEN max_attempts IS NULL THEN NULL ELSE attempt + r.attempts END
FROM <rows:id text, attempts integer>
WHERE understudy_jobs.id <any:ids> AND understudy_jobs.id = r.id AND state = :state
    AND NOT EXISTS (SELECT 1 FROM understudy_jobs AS twin WHERE twin.tenant = understudy_jobs.tenant
        AND twin.dedup_key = understudy_jobs.dedup_key AND twin.state IN ('delayed', 'waiting', 'active'))
RETURNING understudy_jobs.id, queue, priority, <ms:run_at>, tenant, gate, batch_id"""

#: A job that waits for anything but its step keeps its time.
WAKE = """
UPDATE understudy_jobs SET state = 'waiting', run_at = <now>
WHERE id <any:ids> AND state = 'delayed'
    AND EXISTS (SELECT 1 FROM understudy_attempts AS a
        WHERE a.job_id = understudy_jobs.id AND a.fence = understudy_jobs.fence AND a.outcome = 'suspended')
RETURNING id, queue, priority, <ms:run_at>, tenant, gate"""

CRASHES = "SELECT crashes FROM understudy_jobs WHERE id = :id"

MAKE_DUE = """
UPDATE understudy_jobs SET state = 'waiting', run_at = <now>
WHERE id <any:ids> AND state = 'delayed' RETURNING id, queue, priority, <ms:run_at>, tenant, gate"""

#: What is NULL stays as it is.
AMEND = f"""
UPDATE understudy_jobs SET priority = coalesce(:priority, priority), queue = coalesce(:queue, queue),
    args = coalesce(<json:CAST(:args AS text)>, args), kwargs = coalesce(<json:CAST(:kwargs AS text)>, kwargs),
    run_at = CASE WHEN CAST(:run_at AS text) IS NULL THEN run_at
        WHEN <time:CAST(:run_at AS text)> > <now> THEN <time:CAST(:run_at AS text)> ELSE <now> END,
    turn_at = CASE WHEN :moved THEN NULL ELSE turn_at END, parked = CASE WHEN :moved THEN false ELSE parked END,
    gate = CASE WHEN :moved THEN limit_key ELSE gate END,
    debounce_key = CASE WHEN :moved THEN NULL ELSE debounce_key END,
    state = CASE WHEN CAST(:run_at AS text) IS NULL THEN state
        WHEN <time:CAST(:run_at AS text)> > <now> THEN 'delayed' ELSE 'waiting' END
WHERE id <any:ids> AND state IN ('waiting', 'delayed')
RETURNING id, queue, priority, <ms:{TURN}>, tenant, gate, state"""  # noqa: S608

#: The jobs of an open batch are kept, as its progress is counted by them.
_FREE = """(batch_id IS NULL OR NOT EXISTS (SELECT 1 FROM understudy_batches AS b
    WHERE b.id = batch_id AND b.finished_at IS NULL))"""

DELETE = f"""
DELETE FROM understudy_jobs WHERE id <any:ids> AND state IN ('completed', 'failed', 'cancelled') AND {_FREE}
RETURNING id, tenant, queue, state"""  # noqa: S608

_DEAD = """j.state = 'active' AND j.worker_id = :worker
    AND EXISTS (SELECT 1 FROM understudy_workers AS w WHERE w.id = :worker AND w.lease_until < <now>)"""

#: Locks what is to be rescued; a job whose late end is just being written is passed over.
HOLD_DEAD = f"SELECT j.id FROM understudy_jobs AS j WHERE {_DEAD} <skip locked>"  # noqa: S608

RECORD_CRASHES = f"""
INSERT INTO understudy_attempts (job_id, fence, number, worker_id, started_at, finished_at, outcome, error)
SELECT j.id, j.fence, j.attempt, j.worker_id, j.started_at, <now>,
    CASE WHEN :all_blamed OR j.id <any:blamed> THEN 'crashed' ELSE 'handed_back' END, :error
FROM understudy_jobs AS j WHERE j.id <any:ids> AND {_DEAD}
ON CONFLICT DO NOTHING"""  # noqa: S608

RESCUE = f"""
WITH held AS (SELECT j.id AS held_id, CASE WHEN :all_blamed OR j.id <any:blamed> THEN 1 ELSE 0 END AS blamed
    FROM understudy_jobs AS j WHERE j.id <any:ids> AND {_DEAD} <skip locked>),
judged AS (SELECT h.held_id, h.blamed, CASE WHEN k.cancel_requested_at IS NOT NULL THEN 'cancelled'
        WHEN h.blamed = 1 AND k.crashes + 1 >= :max_crashes THEN 'poison'
        WHEN h.blamed = 1 AND k.attempt >= k.max_attempts THEN 'exhausted' END AS verdict
    FROM held AS h JOIN understudy_jobs AS k ON k.id = h.held_id)
UPDATE understudy_jobs SET
    state = CASE WHEN verdict IS NULL THEN 'waiting' WHEN verdict = 'cancelled' THEN 'cancelled' ELSE 'failed' END,
    reason = CASE WHEN verdict = 'cancelled' THEN coalesce(reason, verdict) ELSE verdict END,
    finished_at = CASE WHEN verdict IS NOT NULL THEN <now> END,
    error = CASE WHEN blamed = 1 THEN :error ELSE error END,
    fingerprint = CASE WHEN blamed = 1 THEN 'crash:' || replace(actor, '/', ':') ELSE fingerprint END,
    crashes = crashes + blamed, attempt = attempt - 1 + blamed, hand_backs = hand_backs + 1 - blamed,
    gate = limit_key
FROM judged WHERE id = held_id
RETURNING id, state, queue, priority, <ms:{TURN}>, actor, tenant, attempt, reason, <ms since:started_at>,
    <waited>"""  # noqa: S608

PRUNE = f"""
DELETE FROM understudy_jobs WHERE id IN (SELECT id FROM understudy_jobs
    WHERE state <any:states> AND (queue <any:queues>) <> :others AND finished_at < <after::age_ms>
    AND (:any_tenant OR tenant = :tenant) AND {_FREE}
    ORDER BY finished_at LIMIT :n)
AND state IN ('completed', 'failed', 'cancelled') RETURNING id, tenant, queue, state"""  # noqa: S608

TRIM = f"""
DELETE FROM understudy_jobs WHERE id IN (SELECT id FROM understudy_jobs
    WHERE state = 'completed' AND queue = :queue AND {_FREE} ORDER BY finished_at DESC LIMIT :n OFFSET :keep)
AND state = 'completed' RETURNING id, tenant, queue, state"""  # noqa: S608

PRUNE_ATTEMPTS = "DELETE FROM understudy_attempts WHERE job_id <any:ids>"

PRUNE_EVENTS = "DELETE FROM understudy_job_events WHERE job_id <any:ids>"

RECORD_EVENT = """
INSERT INTO understudy_job_events (job_id, at, kind, attempt, message)
SELECT j.id, <now>, :kind, :attempt, :message FROM understudy_jobs AS j WHERE j.id <any:ids>"""
