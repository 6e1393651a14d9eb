"""PgQueuer on PostgreSQL through asyncpg, its fastest driver here, with its own defaults."""

from __future__ import annotations

import asyncio
import os
import signal

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.programs import tally

URL = os.environ["BENCH_POSTGRES"]
BATCH = 1000


def prepare() -> None:
    """Make the tables."""

    async def install() -> None:
        connection = await asyncpg.connect(URL)
        await Queries.from_asyncpg_connection(connection).install()
        await connection.close()

    asyncio.run(install())


def fill(jobs: int) -> None:
    """Send so many jobs."""

    async def enqueue() -> None:
        connection = await asyncpg.connect(URL)
        queries = Queries.from_asyncpg_connection(connection)
        for start in range(0, jobs, BATCH):
            n = min(BATCH, jobs - start)
            await queries.enqueue(["noop"] * n, [b"1"] * n, [0] * n)
        await connection.close()

    asyncio.run(enqueue())


def work() -> None:
    """Run jobs."""
    tally.wait_for_start()
    asyncio.run(_work())


async def _work() -> None:
    connection = await asyncpg.connect(URL)
    manager = PgQueuer.from_asyncpg_connection(connection)

    @manager.entrypoint("noop")
    async def noop(job: Job) -> None:
        tally.tick()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, manager.shutdown.set)
    await manager.run()
