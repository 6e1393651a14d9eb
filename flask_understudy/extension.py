"""The extension: one object that an application declares its actors on and talks to its jobs through."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar, cast, overload

import dramatiq
from flask import Flask, Request
from sqlalchemy import MetaData

from . import cli, dashboard, rest
from .actor import Actor, ActorDecorator
from .broker import LedgerBroker
from .config import Config
from .context import Principal
from .declarations import DeclaredPage, DeclaredSchedule
from .discovery import discover
from .embedded import EmbeddedWorker
from .errors import ConfigError, NotInitialised
from .events import EventVerbs
from .fallback import StandIn
from .joining import watch
from .ledger import Database, metadata
from .ledger.schedule import ALLOW, GRACE_SECONDS, LATEST
from .middleware import stack
from .operations.drafts import check_name, check_policies, seconds_of
from .schedules import Schedules
from .state import KEY, State
from .terms import check_declaration
from .timing import trigger_of
from .transports import transport_for
from .verbs import JobVerbs

logger = logging.getLogger("flask_understudy")

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A", bound=Callable[..., Any])
Authorizer = Callable[[Request], Principal | None]


class Understudy(JobVerbs, EventVerbs):
    """Background jobs for a Flask application.

    Args:
        db: The application's Flask-SQLAlchemy object; may be given to `init_app` instead.

    The constructor makes the Dramatiq broker and sets it as the global one, so that actors can be declared at import.
    """

    def __init__(self, db: Any = None) -> None:
        self.db = db
        self.broker = LedgerBroker(stack())
        dramatiq.set_broker(self.broker)
        self._authorizer: Authorizer | None = None

    def init_app(self, app: Flask, db: Any = None) -> None:
        """Serve an application. Its body is the map of the library.

        Args:
            app: The application; its database must be initialised.
            db: Its Flask-SQLAlchemy object, unless the constructor had it.

        Raises:
            ConfigError: A setting is unknown or wrong, or needs a package that is not installed.
            NotInitialised: There is no database object, or it does not know the application yet.
        """
        db = db or self.db
        if db is None:
            raise NotInitialised("Understudy needs the Flask-SQLAlchemy object: Understudy(db), or init_app(app, db).")
        if "sqlalchemy" not in app.extensions:
            raise NotInitialised(
                "The database does not know this application. Call db.init_app(app) before jobs.init_app(app)."
            )
        self.db = db
        config = Config.from_mapping(app.config)
        with app.app_context():
            engine = db.engine
            watch(db.session, engine)
        database = Database(engine, app.config.get("SQLALCHEMY_ENGINE_OPTIONS", {}).get("connect_args"))
        transport = transport_for(config.transport, runway=config.runway, timeout=config.broker_timeout_seconds)
        state = State(
            app=app,
            db=db,
            config=config,
            database=database,
            transport=transport,
            broker=self.broker,
        )
        state.authorizer = self._authorizer
        state.stand_in = StandIn(state)
        state.embedded = EmbeddedWorker(state)
        app.extensions[KEY] = state
        self.broker.bind(state)
        app.before_request(state.embedded.ensure)
        cli.mount(app)
        self._mount(state)
        rest.mount_invoke(app, config.rest_prefix, config.invoke_alias)
        if config.metrics_path:
            rest.mount_metrics(app, state, config.metrics_path, public=config.metrics_public)
        discover(config.discover)

    @property
    def metadata(self) -> MetaData:
        """The tables of the ledger, for the application's migrations."""
        return metadata

    # -- declaring -------------------------------------------------------------------------------------------------

    @overload
    def actor(self, fn: Callable[P, Awaitable[R]], /) -> Actor[P, R]: ...

    @overload
    def actor(self, fn: Callable[P, R], /) -> Actor[P, R]: ...

    @overload
    def actor(
        self, /, *, queue_name: str = "default", actor_name: str | None = None, **options: Any
    ) -> ActorDecorator: ...

    def actor(
        self,
        fn: Callable[..., Any] | None = None,
        /,
        *,
        queue_name: str = "default",
        actor_name: str | None = None,
        **options: Any,
    ) -> Any:
        """Declare a function as an actor: `@jobs.actor`, or `@jobs.actor(queue_name="email", …)`.

        Args:
            fn: The function, where there is nothing else to say.
            queue_name: The queue its jobs wait in.
            actor_name: The stable name in the ledger, `domain:verb`; default the function's.
            **options: Dramatiq's actor options, and `priority`, `attempts`, `backoff_factor`, `jitter`, `fallback`
                (`sync`, `hold` or `fail`), `sensitive`, `description`, `api`, `workflow`, `limit` (a `Limit`).

        Raises:
            ConfigError: An option is unknown or its value invalid, or the queue's name is none.
            ValueError: The name is taken.
        """
        check_declaration(self.broker, queue_name, options)

        def declare(fn: Callable[..., Any]) -> Any:
            description = (fn.__doc__ or "").strip().partition("\n")[0]
            decorator = dramatiq.actor(
                queue_name=queue_name,
                actor_name=actor_name,
                broker=self.broker,
                actor_class=Actor,
                **{"priority": None, "description": description, **options},
            )
            return decorator(fn)

        return declare if fn is None else declare(fn)

    def schedule(
        self,
        expression: str,
        *,
        timezone: str | None = None,
        name: str | None = None,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        missed: str = LATEST,
        grace: timedelta | int = GRACE_SECONDS,
        overlap: str = ALLOW,
        enabled: bool = True,
    ) -> Callable[[A], A]:
        """Send an actor by the clock; stands above `@jobs.actor(...)`.

        Args:
            expression: Five cron fields, Sunday being 0 and 7, `every 30 minutes`, or a date as `2026-12-24T09:00`.
            timezone: IANA zone; default `UNDERSTUDY_TIMEZONE`.
            name: Unique name; default the actor's.
            args: Positional arguments of each job.
            kwargs: Keyword arguments of each job.
            options: Options of each send: `queue`, `priority`, `tags`, `attempts`, …
            missed: What becomes of slots that passed while no clock ran: `latest` of them within the grace, `skip` or
                `all`, at most 100.
            grace: How late the latest slot may be fired, as s or timedelta.
            overlap: What becomes of a slot while an earlier job has not ended: `allow`, `skip` or `queue`.
            enabled: False = it fires once an operator has enabled it.

        Raises:
            ConfigError: The expression, the zone, a policy or an option is invalid, or the name is taken.
        """
        trigger_of(expression, timezone or "UTC")
        check_policies(missed, seconds_of(grace), overlap, options or {})

        def declare(actor: A) -> A:
            actor_name = cast(Any, actor).actor_name
            own = name or actor_name.replace("/", ":")
            check_name(own)
            if any(known.name == own for known in self.broker.schedules):
                raise ConfigError(f"A schedule named {own!r} is declared already; give this one a name.")
            self.broker.schedules.append(
                DeclaredSchedule(
                    own,
                    actor_name,
                    expression,
                    timezone,
                    tuple(args),
                    dict(kwargs or {}),
                    dict(options or {}),
                    missed,
                    seconds_of(grace),
                    overlap,
                    enabled,
                )
            )
            return actor

        return declare

    @property
    def schedules(self) -> Schedules:
        """The schedules as rows: registering, switching, running and listing them while the application runs."""
        return Schedules(lambda: self.broker.state)

    def dashboard_page(self, name: str, *, title: str, scope: str) -> Callable[[A], A]:
        """Declare a page of the application's own on the dashboard: in its navigation, for whoever is signed in there.

        Args:
            name: The end of its address below the dashboard's, `/app/<name>`: small letters, digits and hyphens.
            title: What the navigation calls it.
            scope: What a caller needs to see it: `read`, `payload`, `enqueue`, `operate`, `admin` or `tenants`.

        The function takes no arguments and returns what Flask's views return. A template that extends
        `understudy/dashboard/frame.html` has the dashboard's looks; its forms carry `csrf()` as their field `csrf`,
        without which a POST is refused before it gets there.

        Raises:
            ConfigError: The name is none or taken, or there is no such scope.
        """
        if re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) is None:
            raise ConfigError(f"{name!r} is no name of a page; it takes small letters, digits and hyphens.")
        if name in self.broker.pages:
            raise ConfigError(f"A page named {name!r} is declared already; give this one another name.")
        if scope not in rest.SCOPES:
            raise ConfigError(f"{scope!r} is no scope; there are {', '.join(rest.SCOPES)}.")

        def declare(view: A) -> A:
            self.broker.pages[name] = DeclaredPage(name, title, scope, view)
            return view

        return declare

    def authorizer(self, who: Authorizer) -> Authorizer:
        """Declare who makes a request: a function of the request that returns a `Principal`, or None for nobody.

        It opens the REST API and the dashboard, which stay unmounted without one.
        """
        self._authorizer = who
        if self.broker.is_bound:
            self.state.authorizer = who
            self._mount(self.state)
        return who

    def _mount(self, state: State) -> None:
        if state.authorizer is None or rest.is_mounted(state.app):
            return
        if not state.app.secret_key:
            logger.warning(
                "The REST API and the dashboard are not mounted: SECRET_KEY, which signs their tokens, is missing."
            )
            return
        rest.mount(state.app, state.config.rest_prefix)
        if state.config.dashboard_prefix:
            dashboard.mount(state.app, state.config.dashboard_prefix)

    # -- the worker inside the web process ---------------------------------------------------------------------------

    def start_worker(self) -> None:
        """Start the worker of this web process if it is wanted; for a server's post-fork hook."""
        self.state.embedded.ensure()

    def stop_worker(self) -> None:
        """Stop the worker of this web process; for a server's exit hook. Idempotent."""
        self.state.embedded.stop()

    def close(self) -> None:
        """Stop what runs in this process and close the library's own connections. Idempotent."""
        self.stop_worker()
        self.broker.close()
