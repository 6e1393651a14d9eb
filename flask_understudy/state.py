"""What the library keeps for one application: its settings, database, transport and worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flask import Flask, Request

from .config import Config
from .context import Principal
from .ledger import Database
from .ledger.limit import Numbers
from .transports import Transport
from .waiting import WaitingRoom

if TYPE_CHECKING:
    from .broker import LedgerBroker
    from .embedded import EmbeddedWorker
    from .fallback import StandIn
    from .worker import WorkerProcess

KEY = "understudy"


@dataclass(slots=True)
class State:
    """One application's side of the library, kept as `app.extensions["understudy"]`.

    Attributes:
        app: The application.
        db: Its Flask-SQLAlchemy object.
        config: The settings.
        database: The ledger's database.
        transport: What announces jobs.
        broker: The Dramatiq broker that actors were declared on.
        waiting_room: Says how many requests of this process may wait.
        stand_in: Runs jobs of the `sync` fallback while the broker is down.
        embedded: The worker inside this web process, when one is wanted.
        worker: The worker of this process, when it is one.
        declared: What this process has said that keys allow; see `admission`.
        authorizer: Says who makes a request; None = closed.
    """

    app: Flask
    db: Any
    config: Config
    database: Database
    transport: Transport
    broker: LedgerBroker
    waiting_room: WaitingRoom = field(init=False)
    stand_in: StandIn = field(init=False)
    embedded: EmbeddedWorker = field(init=False)
    worker: WorkerProcess | None = None
    declared: dict[tuple[str, str], Numbers] = field(default_factory=dict)
    authorizer: Callable[[Request], Principal | None] | None = None

    def __post_init__(self) -> None:
        self.waiting_room = WaitingRoom(self.config.waiting_requests, self.config.waiting_per_caller)
