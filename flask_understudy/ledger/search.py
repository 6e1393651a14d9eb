"""Finding jobs: keyset pages, counts.

No page costs more than reading `SCAN` rows. What an index answers (tenant, queue and state, time) bounds those rows;
everything else (actor, tag, texts, payload) is looked for among them. A page may therefore hold fewer jobs than asked
for, or none, and still lead on: its `after` is where the next one begins.

What says which jobs they are, ids, a fingerprint or a batch, goes before everything else. Otherwise there are three
roads. Jobs that ended are read by an index of tenant, queue, state and the time of their end; live
ones, which are few beside them, by their partial indexes; everything together by tenant and time of creation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    String,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    text,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Session, aliased, defer

from .awaiting import awaits
from .base import Moment
from .database import Database
from .filter import Filter, Known
from .job import FAILED, LIVE, TERMINAL, WAITING, Job
from .scope import Scope

SCAN = 5_000
EXACT = 10_000
COUNT_SCAN = 100_000

Place = tuple[datetime, str]


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, detached and without their payload, and the place after which the next page begins."""

    jobs: Sequence[Job]
    after: Place | None


#: The conditions of the indexes of what waits, word for word.
_WAITING = (
    ("NOT understudy_jobs.parked", "understudy_jobs.gate IS NULL"),
    ("understudy_jobs.parked",),
    ("NOT understudy_jobs.parked", "understudy_jobs.gate IS NOT NULL"),
)

_HEAVY = ("args", "kwargs", "result")
_Condition = ColumnElement[bool]


class Search:
    """One question to the ledger.

    Args:
        database: The ledger's database.
        scope: Whose jobs may be found.
        wanted: Which of them are.
        known: What the application knows.
        newest_first: The order: by the end when only ended jobs are wanted, else by creation.
    """

    def __init__(
        self, database: Database, scope: Scope, wanted: Filter, known: Known | None = None, *, newest_first: bool = True
    ) -> None:
        self.database = database
        self.scope = scope
        self.wanted = wanted
        self.known = known or Known()
        self.newest_first = newest_first
        self._is_ended = self.is_by_end(wanted)
        self._is_live = bool(wanted.states) and set(wanted.states) <= set(LIVE)
        self._is_named = bool(wanted.ids or wanted.id_starts)
        self._is_pointed = self._is_named or wanted.fingerprint is not None or wanted.batch_id is not None
        self._key = "finished_at" if self._is_ended else "created_at"

    @staticmethod
    def is_by_end(wanted: Filter) -> bool:
        """Whether the jobs of a filter are ordered by their end, and not by their creation."""
        return wanted.fingerprint is not None or (bool(wanted.states) and set(wanted.states) <= set(TERMINAL))

    # -- asking ----------------------------------------------------------------------------------------------------

    def page(self, limit: int, after: Place | None = None) -> Page:
        """Return up to `limit` jobs that follow `after`."""
        rest = self._rest(Job)
        read = aliased(Job, self._rows(SCAN if rest else limit + 1, after).subquery())
        query = self._ordered(select(read).where(*self._rest(read)), read).limit(limit + 1)
        query = query.options(*(defer(getattr(read, name), raiseload=True) for name in _HEAVY))
        with Session(self.database.engine, expire_on_commit=False) as session:
            found = list(session.scalars(query))
            if len(found) > limit:
                return Page(found[:limit], (getattr(found[limit - 1], self._key), found[limit - 1].id))
            if not rest:
                return Page(found, None)
            places = self._ordered(select(getattr(read, self._key), read.id), read)
            last = session.execute(places.offset(SCAN - 1).limit(1)).first()
            return Page(found, (last[0], last[1]) if last else None)

    def count(self, most: int | None = None, scan: int | None = None) -> tuple[int, bool]:
        """Return how many jobs there are, and whether that is exact; it is up to `most`, and may be low above.

        Where no index answers, `scan` rows are read at the most. None = `EXACT` and `COUNT_SCAN`.
        """
        most, scan = most or EXACT, scan or COUNT_SCAN
        rest = self._rest(Job)
        read = aliased(Job, self._rows(scan if rest else most + 1, None).subquery())
        matching = func.count().filter(and_(true(), *self._rest(read)))
        with self.database.engine.connect() as connection:
            scanned, n = connection.execute(select(func.count(), matching).select_from(read)).one()
        return n, n <= most and not (rest and scanned == scan)

    def tally(self, most: int) -> tuple[dict[str, int], bool]:
        """Return how many of the first `most` jobs each tenant has, and whether all were counted, however many."""
        rest = self._rest(Job)
        read = aliased(Job, self._rows(COUNT_SCAN if rest else most, None).subquery())
        first = (
            self._ordered(select(read).with_only_columns(read.tenant).where(*self._rest(read)), read)
            .limit(most)
            .subquery()
        )
        with self.database.engine.connect() as connection:
            found = connection.execute(select(first.c.tenant, func.count()).group_by(first.c.tenant)).all()
            scanned = connection.scalar(select(func.count()).select_from(read)) if rest else 0
        counts = {row[0]: int(row[1]) for row in found}
        return counts, scanned != COUNT_SCAN or sum(counts.values()) == most

    # -- the rows that are read --------------------------------------------------------------------------------------

    def _rows(self, size: int, after: Place | None) -> Select[tuple[Job]]:
        """Return the first `size` rows of the road, in order.

        Where several roads run side by side the places are merged first, which indexes alone answer.
        """
        sources = self._sources()
        if len(sources) == 1 and not self._spans_tenants():
            return self._ordered(select(Job).where(*sources[0], *self._place(after)), Job).limit(size)
        places = self._of_each_tenant(size, after) if self._spans_tenants() else self._of_each(sources, size, after)
        merged = places.subquery()
        key, id = merged.c[self._key], merged.c.id
        order = (key.desc(), id.desc()) if self.newest_first else (key, id)
        first = select(id).order_by(*order).limit(size)
        return self._ordered(select(Job).where(Job.id.in_(first)), Job)

    def _of_each(self, sources: list[list[_Condition]], size: int, after: Place | None) -> CompoundSelect[Any]:
        key = getattr(Job, self._key)
        each = (
            self._ordered(select(key, Job.id).where(*source, *self._place(after)), Job).limit(size)
            for source in sources
        )
        return union_all(*(select(places.subquery()) for places in each))

    def _sources(self) -> list[list[_Condition]]:
        wanted, tenant = self.wanted, [self.scope.of(Job)]
        if self._is_named:
            return [[*tenant, or_(Job.id.in_(wanted.ids), *map(_begins, wanted.id_starts))]]
        if wanted.fingerprint is not None:
            return [[*tenant, Job.state == FAILED, Job.fingerprint == wanted.fingerprint]]
        if wanted.batch_id is not None:
            return [[*tenant, Job.batch_id == wanted.batch_id]]
        if self._is_live:
            queues = [Job.queue.in_(wanted.queues)] if wanted.queues else []
            return [[*tenant, *part, *queues] for state in wanted.states for part in self._parts(state)]
        if self._is_by_queue():
            pairs = product(wanted.queues or self.known.queues, wanted.states)
            ended = Job.finished_at.is_not(None)
            return [[*tenant, ended, Job.queue == queue, Job.state == state] for queue, state in pairs]
        return [[*tenant, *([Job.finished_at.is_not(None)] if self._is_ended else [])]]

    def _parts(self, state: str) -> list[list[_Condition]]:
        """Return the live jobs of a state in parts that have an index; what waits has one by tenant alone."""
        if state != WAITING or self.scope.tenant is not None:
            return [[Job.state == state]]
        return [[Job.state == state, *map(text, part)] for part in _WAITING]  # type: ignore[list-item]

    def _is_by_queue(self) -> bool:
        return self._is_ended and self.scope.tenant is not None and bool(self.wanted.queues or self.known.queues)

    def _spans_tenants(self) -> bool:
        """Whether every tenant's newest jobs have to be merged; SQLite, which cannot, sorts."""
        is_all = self.scope == Scope() and not (self._is_pointed or self.wanted.states)
        return is_all and not self.database.is_sqlite

    def _of_each_tenant(self, size: int, after: Place | None) -> Select[Any]:
        tenants = select(select(func.min(Job.tenant)).scalar_subquery().label("tenant")).cte("tenants", recursive=True)
        following = select(func.min(Job.tenant)).where(Job.tenant > tenants.c.tenant).scalar_subquery()
        tenants = tenants.union_all(select(following).where(tenants.c.tenant.is_not(None)))
        own = select(getattr(Job, self._key), Job.id).where(Job.tenant == tenants.c.tenant, *self._place(after))
        return select(each := self._ordered(own, Job).limit(size).lateral()).select_from(tenants.join(each, true()))

    def _place(self, after: Place | None) -> list[_Condition]:
        """Return the conditions on the key: beyond a place, and within the wanted times."""
        key: Any = getattr(Job, self._key)
        since = self.wanted.finished_after if self._is_ended else self.wanted.created_after
        until = self.wanted.finished_before if self._is_ended else self.wanted.created_before
        conditions: list[_Condition] = []
        if since is not None:
            conditions.append(key >= since)
        if until is not None:
            conditions.append(key < until)
        if after is not None:
            here, there = tuple_(key, Job.id), tuple_(literal(after[0], Moment), literal(after[1]))
            conditions.append(here < there if self.newest_first else here > there)
        return conditions

    def _ordered(self, query: Select[Any], job: Any) -> Select[Any]:
        key = getattr(job, self._key)
        return query.order_by(key.desc(), job.id.desc()) if self.newest_first else query.order_by(key, job.id)

    # -- what is looked for among them -----------------------------------------------------------------------------

    def _rest(self, job: Any) -> list[_Condition]:
        wanted = self.wanted
        is_answered = not self._is_pointed and (self._is_live or self._is_by_queue())
        found: list[_Condition] = []
        if wanted.states and not is_answered:
            found.append(job.state.in_(wanted.states))
        if wanted.queues and not is_answered:
            found.append(job.queue.in_(wanted.queues))
        if wanted.actors:
            found.append(job.actor.in_(wanted.actors))
        if wanted.tags:
            found.append(self._tagged(job))
        if self._is_named and wanted.fingerprint is not None:
            found += [job.state == FAILED, job.fingerprint == wanted.fingerprint]
        for name in ("owner", "correlation_id", *(["batch_id"] if self._is_named or wanted.fingerprint else [])):
            if (value := getattr(wanted, name)) is not None:
                found.append(getattr(job, name) == value)
        if wanted.error:
            found.append(job.error.icontains(wanted.error, autoescape=True))
        if wanted.text:
            columns = (job.id, job.actor, job.dedup_key, job.error)
            found.append(or_(*(column.icontains(wanted.text, autoescape=True) for column in columns)))
        found += _between(job.attempt, wanted.attempt_from, wanted.attempt_to)
        found += _between(job.priority, wanted.priority_from, wanted.priority_to)
        found += [not_(awaits(job))] if wanted.due_by_itself else []
        found += self._other_times(job)
        found += [self._leads_to(job, path, value) for path, value in wanted.payload]
        return found

    def _other_times(self, job: Any) -> list[_Condition]:
        """Return the conditions on the time that is not the key."""
        name, since, until = (
            ("created_at", self.wanted.created_after, self.wanted.created_before)
            if self._is_ended
            else ("finished_at", self.wanted.finished_after, self.wanted.finished_before)
        )
        column = getattr(job, name)
        return [*([column >= since] if since else []), *([column < until] if until else [])]

    def _tagged(self, job: Any) -> _Condition:
        if not self.database.is_sqlite:
            return cast(job.tags, JSONB).has_any(cast(list(self.wanted.tags), ARRAY(String)))  # type: ignore[no-any-return]
        tags = func.json_each(job.tags).table_valued("value")
        return exists(select(literal(1)).select_from(tags).where(tags.c.value.in_(self.wanted.tags)))

    def _leads_to(self, job: Any, path: tuple[str, ...], value: str) -> _Condition:
        name, *deeper = path
        ways = [self._text_at(job.kwargs, path) == value]
        if _is_position(name):
            by_place = self._text_at(job.args, path) == value
            ways.append(and_(by_place, self._shows(job, int(name))) if self.wanted.only_shown else by_place)
        for position, actors in self.known.positions(name).items():
            there = self._text_at(job.args, (str(position), *deeper))
            ways.append(and_(job.actor.in_(actors), there == value))
        found = or_(*ways)
        return and_(self._shows(job, None), found) if self.wanted.only_shown else found

    def _shows(self, job: Any, position: int | None) -> _Condition:
        return job.actor.in_(self.known.showing(position))  # type: ignore[no-any-return]

    def _text_at(self, column: Any, path: Sequence[str]) -> ColumnElement[str]:
        if not self.database.is_sqlite:
            return func.json_extract_path_text(column, *path)
        where = "$" + "".join(f"[{key}]" if _is_position(key) else f'."{_escaped(key)}"' for key in path)
        kind = func.json_type(column, where)
        return case((kind.in_(["true", "false"]), kind), else_=cast(func.json_extract(column, where), String))


def _between(column: Any, least: int | None, most: int | None) -> list[_Condition]:
    return [*([column >= least] if least is not None else []), *([column <= most] if most is not None else [])]


def _begins(start: str) -> _Condition:
    """Return that the id begins so: a range, which its index answers in any collation, as no id goes on with a `g`."""
    return and_(Job.id >= start, Job.id < f"{start}g", Job.id.startswith(start, autoescape=True))


def _is_position(key: str) -> bool:
    return key.isascii() and key.isdecimal()


def _escaped(key: str) -> str:
    """Return a key for a JSON path of SQLite, which knows no way to write one with a quotation mark."""
    return key.replace("\\", "\\\\").replace('"', "")
