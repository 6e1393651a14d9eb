"""What every table of the service shares: one metadata, aware UTC times, string ids."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: Names of constraints are stated so that migrations can name them on every database.
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(sa.types.TypeDecorator[dt.datetime]):
    """An aware datetime, in UTC on the way out, on PostgreSQL and SQLite alike.

    SQLite keeps no zone: values are stored in UTC and get the zone back when read. A naive value
    is refused, for nobody can say which instant it means.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: sa.engine.Dialect) -> dt.datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time zone is missing in {value.isoformat()}; give an aware time")
        return value.astimezone(dt.UTC)

    def process_result_value(self, value: dt.datetime | None, dialect: sa.engine.Dialect) -> dt.datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            return value.replace(tzinfo=dt.UTC)
        return value.astimezone(dt.UTC)


#: A row counter: 64 bits on PostgreSQL, SQLite's rowid there.
RowNumber = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def utcnow() -> dt.datetime:
    """Return the present instant, aware and in UTC."""
    return dt.datetime.now(dt.UTC)


def new_id() -> str:
    """Return a fresh random id, as every id of this service is: a UUID in its 36 characters."""
    return str(uuid.uuid4())


class Base(DeclarativeBase):
    """Base of all models of the service; its metadata is what ``db.metadata`` shows."""

    metadata = sa.MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {
        dt.datetime: UtcDateTime(),
        dict[str, Any]: sa.JSON(),
        list[str]: sa.JSON(),
    }


class Identified:
    """Mixin: a string id."""

    id: Mapped[str] = mapped_column(sa.String(36), primary_key=True, default=new_id)


class Created:
    """Mixin: when the row was made."""

    created_at: Mapped[dt.datetime] = mapped_column(default=utcnow)
