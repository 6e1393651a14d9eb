"""Claims the jobs named on the command line, one by one, and prints those it got; run by test_transitions."""

from __future__ import annotations

import sys

import sqlalchemy as sa

from flask_understudy.ledger import Database, transitions


def main() -> None:
    url, *ids = sys.argv[1:]
    database = Database(sa.create_engine(url))
    worker = f"claimer-{id(database)}"
    with database.statement() as connection:
        connection.exec_driver_sql("SELECT 1")
    print("ready", flush=True)
    sys.stdin.readline()
    for job in ids:
        with database.claims() as connection:
            for claimed in transitions.claim(connection, worker, [job]):
                print(claimed.id, flush=True)


if __name__ == "__main__":
    main()
