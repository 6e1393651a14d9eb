"""What all tables of the ledger share: the metadata, and two column types that mean the same on both databases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, MetaData
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)


class Base(DeclarativeBase):
    """Declarative base of the ledger's own tables, all named `understudy_*`."""

    metadata = metadata


class Moment(TypeDecorator[datetime]):
    """An aware point in time: `timestamptz` on PostgreSQL, UTC text with six decimals on SQLite."""

    __module__ = (
        "sqlalchemy.types"  # with the repr below: migrations say sa.DateTime(timezone=True), and import nothing
    )
    impl = DateTime(timezone=True)
    cache_ok = True

    def __repr__(self) -> str:
        """Show the type of the column, as migrations write it."""
        return "DateTime(timezone=True)"

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Refuse naive times; SQLite gets UTC without its zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone.")
        return value.astimezone(UTC).replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Every time read from the ledger is aware and in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)  # type: ignore[no-any-return]
