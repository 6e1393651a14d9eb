"""`worker`, `serve` and `dev`: running what runs jobs."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

import click
from flask import Flask, Request, current_app
from flask.cli import ScriptInfo
from werkzeug.serving import run_simple

from .. import dashboard, rest
from ..context import Principal
from ..operations import queues as operations
from .group import NOT_FOUND, Refused, jobs, state
from .supervisor import Program, Supervisor

SHUTDOWN_MS = 25_000
GRACE_SECONDS = 35.0
DEV_PORT = 8288
LOOPBACK = frozenset({"127.0.0.1", "::1"})
RELOAD = 3  # the code with which werkzeug's reloader ends a process that is to be started anew
IN_RELOADER, SOCKET = "WERKZEUG_RUN_MAIN", "WERKZEUG_SERVER_FD"  # what werkzeug tells its own reloaded server

MODULES = click.argument("modules", nargs=-1, metavar="[MODULE]...")
QUEUES = click.option("--queues", "-Q", help="Names, comma-separated; default: all.")
CONCURRENCY = click.option(
    "--concurrency", "-t", type=click.IntRange(1, 1000), help="Threads of a process; default: QUEUE_CONCURRENCY."
)
PROCESSES = click.option(
    "--processes",
    "-p",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    envvar="WORKER_PROCESSES",
    help="Worker processes; or WORKER_PROCESSES.",
)


@jobs.command("worker")
@MODULES
@QUEUES
@CONCURRENCY
@PROCESSES
def worker(modules: tuple[str, ...], queues: str | None, concurrency: int | None, processes: int) -> None:
    """Run jobs: becomes `dramatiq` with the modules that declare the actors. The clock runs in it.

    \b
    Examples:
      flask jobs worker
      flask jobs worker --queues email,reports --concurrency 16 --processes 2
      QUEUE_CONCURRENCY=10 flask jobs worker app.actors
    """
    command = worker_command(modules, queues, concurrency, processes)
    sys.stdout.flush()
    os.execve(sys.executable, command, {**os.environ, **app_variables()})


def worker_command(modules: Sequence[str], queues: str | None, concurrency: int | None, processes: int) -> list[str]:
    """Return the command of a worker.

    Raises:
        Refused: No worker can run, or a queue is unknown.
    """
    here = state()
    if not here.config.enabled:
        raise Refused("UNDERSTUDY_ENABLED is off: jobs are stored and not run. Turn it on to run a worker.")
    names = [name.strip() for name in (queues or "").split(",") if name.strip()]
    if unknown := sorted(set(names) - operations.names(here)):
        known = ", ".join(sorted(operations.names(here)))
        raise Refused(f"No queue is named {unknown[0]!r}. There are: {known or 'none'}.", NOT_FOUND)
    command = [sys.executable, "-m", "dramatiq", *(modules or actor_modules())]
    command += ["--processes", str(processes), "--threads", str(concurrency or here.config.concurrency)]
    command += ["--worker-shutdown-timeout", str(SHUTDOWN_MS), "--skip-logging"]
    if folder := import_folder():
        command += ["--path", ".", folder]
    return [*command, *(["--queues", *names] if names else [])]


def actor_modules() -> list[str]:
    """Return the modules in which the application declares its actors.

    Raises:
        Refused: There are no actors.
    """
    found = {actor.fn.__module__ for actor in state().broker.actors.values()} - {"__main__"}
    found = {name for name in found if not name.startswith("dramatiq.")}
    if not found:
        raise Refused("The application declares no actors. Name the module: flask jobs worker app.actors")
    return sorted(found)


def import_folder() -> str | None:
    """Return the folder that `flask` imported the application from, when that is not the current one."""
    folder = sys.path[0] if sys.path else ""
    is_elsewhere = bool(folder) and Path(folder).is_dir() and Path(folder).resolve() != Path.cwd()
    return folder if is_elsewhere and not folder.endswith(("/bin", "site-packages")) else None


def app_path() -> str | None:
    """Return where `flask` found the application, as `--app` or FLASK_APP said."""
    info = click.get_current_context().find_object(ScriptInfo)
    return (info.app_import_path if info is not None else None) or os.environ.get("FLASK_APP")


def app_variables() -> dict[str, str]:
    """Return what makes other programs find the same application."""
    path = app_path()
    return {"FLASK_APP": path} if path else {}


@jobs.command("serve")
@MODULES
@click.option("--bind", "-b", help="Address of the web; default: gunicorn's configuration, or PORT.")
@click.option("--workers", "-w", type=click.IntRange(1, 1000), help="Web processes; or WEB_CONCURRENCY.")
@click.option("--threads", type=click.IntRange(1, 1000), help="Threads of a web process.")
@click.option("--wsgi", help="The application for gunicorn; default: the one of this command.")
@QUEUES
@CONCURRENCY
@PROCESSES
def serve(
    modules: tuple[str, ...],
    bind: str | None,
    workers: int | None,
    threads: int | None,
    wsgi: str | None,
    queues: str | None,
    concurrency: int | None,
    processes: int,
) -> None:
    """Run web and workers under one supervisor: gunicorn and dramatiq, for a container of its own.

    SIGTERM and Ctrl-C stop both in good order. What dies is started anew, after 1, 2, 4 … 30 s; when it cannot run,
    everything ends with 1.

    \b
    Examples:
      flask jobs serve
      flask jobs serve --bind 0.0.0.0:8000 --workers 2 --threads 16 --concurrency 8
    """
    if importlib.util.find_spec("gunicorn") is None:
        raise Refused("gunicorn is not installed. Run: pip install gunicorn")
    web = [sys.executable, "-m", "gunicorn", wsgi or wsgi_path(current_app._get_current_object())]  # type: ignore[attr-defined]
    given = {"--bind": bind, "--workers": workers, "--threads": threads}
    for option, value in given.items():
        if value is not None:
            web += [option, str(value)]
    if (folder := import_folder()) is not None:
        web += ["--pythonpath", folder]
    work = worker_command(modules, queues, concurrency, processes)
    environ = app_variables()
    in_web = {**environ, "UNDERSTUDY_WORKER": "off"}
    if threads is not None:  # half of them may wait with long polls and streams
        in_web["UNDERSTUDY_WAITING_REQUESTS"] = os.environ.get("UNDERSTUDY_WAITING_REQUESTS") or str(threads // 2)
    programs = [
        Program("The web", web, in_web),
        Program("The worker", work, environ),
    ]
    state().database.close()
    sys.exit(Supervisor(programs, grace_seconds=GRACE_SECONDS).run())


def wsgi_path(app: Flask) -> str:
    """Return what gunicorn calls the application: `module:name`, or `module:factory()`.

    Raises:
        Refused: It cannot be told.
    """
    path = app_path() or next((file for file in ("wsgi", "app") if Path(f"{file}.py").is_file()), None)
    if path is None:
        raise Refused("Which application gunicorn shall serve cannot be told: name it with --wsgi module:app.")
    name, _, attribute = path.partition(":")
    if name.endswith(".py"):
        name = Path(name).stem
    module = sys.modules.get(name)
    if attribute:
        is_factory = not attribute.endswith(")") and not isinstance(getattr(module, attribute, None), Flask)
        return f"{name}:{attribute}{'()' if is_factory else ''}"
    for known in ("app", "application", *vars(module or object())):
        if getattr(module, known, None) is app:
            return f"{name}:{known}"
    factory = next((known for known in ("create_app", "make_app") if hasattr(module, known)), None)
    if factory is None:
        raise Refused("Which application gunicorn shall serve cannot be told: name it with --wsgi module:app.")
    return f"{name}:{factory}()"


@jobs.command("dev")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address.")
@click.option("--port", type=click.IntRange(1, 65_535), default=DEV_PORT, show_default=True, help="Port.")
def dev(host: str, port: int) -> None:
    """Run everything in one process for development: debug server, worker and clock, anew at each change of a file.

    An application without an authoriser opens its API and dashboard to browsers of this machine, here alone.

    \b
    Example:
      flask jobs dev                    # http://127.0.0.1:8288
    """
    if os.environ.get(IN_RELOADER) != "true":
        click.echo(
            f"http://{host}:{port}  with a worker inside, started anew at each change. Ctrl-C ends it.", err=True
        )
        if prefix := state().config.dashboard_prefix:
            click.echo(f"http://{host}:{port}{prefix}  is the dashboard.", err=True)
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listening = socket.create_server((host, port), family=family)
        except OSError as problem:
            raise Refused(f"{host}:{port} cannot be used: {problem.strerror}. Choose another --port.") from problem
        with listening:
            sys.exit(_reload_for_ever(listening.fileno(), ["--host", host, "--port", str(port)]))
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    app.debug = True
    open_to_developer(app)
    state().embedded.ensure()
    run_simple(host, port, app, use_reloader=True, use_debugger=True, threaded=True)


def open_to_developer(app: Flask) -> None:
    """Open the API and the dashboard of an application that has no authoriser to whoever sits at this machine (L01)."""
    here = state()
    if here.authorizer is not None:
        return
    app.secret_key = app.secret_key or secrets.token_hex(32)
    here.authorizer = _developer
    rest.mount(app, here.config.rest_prefix)
    if here.config.dashboard_prefix:
        dashboard.mount(app, here.config.dashboard_prefix)


def _developer(request: Request) -> Principal | None:
    """Return the developer for a request of this machine to this machine; a page of another host has its own name."""
    name = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdecimal() else request.host
    is_here = request.remote_addr in LOOPBACK and name in {*LOOPBACK, "localhost", "[::1]"}
    is_passed_on = any(header in request.headers for header in ("Forwarded", "X-Forwarded-For", "X-Real-IP"))
    return Principal("developer", "", frozenset(rest.SCOPES)) if is_here and not is_passed_on else None


def _reload_for_ever(fd: int, options: Sequence[str]) -> int:
    """Run the server in a child process, again after each change, also when a change broke it; return its code."""
    path = app_path()
    command = [sys.executable, "-m", "flask", *(["--app", path] if path else []), "jobs", "dev", *options]
    environ = {**os.environ, IN_RELOADER: "true", SOCKET: str(fd)}
    environ |= {"FLASK_DEBUG": "1", "UNDERSTUDY_WORKER": "in-process"}

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    files = {file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    while True:
        before = _times(files)
        child = subprocess.Popen(command, env=environ, pass_fds=[fd])
        try:
            code = child.wait()
            if code not in {RELOAD, 0} and code > 0:
                click.echo("The server ended; it is started anew when a file changes.", err=True)
                while _times(files) == before:
                    time.sleep(0.5)
            elif code != RELOAD:
                return max(code, 0)
        except KeyboardInterrupt:
            return 0
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()


def _times(files: set[str]) -> Mapping[str, float]:
    return {file: Path(file).stat().st_mtime for file in files if Path(file).exists()}
