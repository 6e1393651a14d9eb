"""The program behind `make run`: the whole service on this machine, with data to try it on.

It migrates the database, loads the demo organisations, catches the mail that the service sends, and
serves at http://127.0.0.1:8000 with the worker inside. Nothing has to be installed or configured;
what is set all the same is respected: PORT, DATABASE_URL, REDIS_URL, SMTP_HOST, LOG_LEVEL.
TRANSPORT=redis starts a Redis for the time of the run.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from email.message import EmailMessage
from pathlib import Path
from types import FrameType

from aiosmtpd.smtp import SMTP, Envelope, Session

from tools.servers import RedisServer
from tools.servers.guard import guard
from tools.smtp import SmtpCatcher
from tools.waiting import wait_for

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60
#: gunicorn gives requests and jobs 25 s to end.
STOP_SECONDS = 30


class CannotRun(Exception):
    """The demo cannot start; the message says why and what to do."""


class MailFolder(SmtpCatcher):
    """Catches mail into files, one `.eml` each, with a list of them in `list.txt`."""

    def __init__(self, folder: Path) -> None:
        """Prepare to write into `folder`."""
        super().__init__()
        self.folder = folder
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take one message and write it down."""
        answer = await super().handle_DATA(server, session, envelope)
        self._write(self.messages.pop())
        return answer

    def _write(self, message: EmailMessage) -> None:
        number = 1 + sum(1 for _ in self.folder.glob("*.eml"))
        path = self.folder / f"{number:04}.eml"
        recipients = str(message["X-RcptTo"])
        del message["X-MailFrom"], message["X-RcptTo"]
        path.write_bytes(message.as_bytes())
        line = f"{path.name}  to {recipients}: {message['Subject']}"
        with (self.folder / "list.txt").open("a") as listing:
            print(time.strftime("%Y-%m-%d %H:%M:%S"), line, file=listing)
        print(f"mail   {_shown(path.parent)}/{line}", flush=True)


class Demo:
    """One run of the demo, from the first check to the last process."""

    def __init__(self, environ: dict[str, str]) -> None:
        """Decide where everything goes."""
        self.port = _port(environ.get("PORT") or "8000")
        self.url = f"http://127.0.0.1:{self.port}"
        self.instance = Path(environ.get("INSTANCE_PATH") or ROOT / "instance")
        self.environ = environ | {
            "PORT": str(self.port),
            "INSTANCE_PATH": str(self.instance),
            "FLASK_APP": "wsgi.py",
            "WEB_CONCURRENCY": "1",
            "APP_URL": environ.get("APP_URL") or self.url,
            "LOG_LEVEL": environ.get("LOG_LEVEL") or "warning",
        }
        self.mail = f"goes to {environ.get('SMTP_HOST')}"
        self.is_over = False

    def run(self) -> int:
        """Start everything, say how to use it, wait for Ctrl-C, stop everything.

        Returns:
            The exit code of the program.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        _refuse_taken(self.port)
        with ExitStack() as parts:
            self._take_folder(parts)
            self._start_parts(parts)
            self._flask("db", "upgrade")
            tokens = dict(line.split() for line in self._flask("demo").splitlines())
            server = self._serve(parts)
            self._wait_until_ready(server)
            if not self.is_over:
                print(self._welcome(tokens), flush=True)
            while not self.is_over and server.poll() is None:
                time.sleep(0.1)
            if not self.is_over:
                raise CannotRun(f"The web server ended by itself with code {server.returncode}.")
            print("\nStopping.", flush=True)
        return 0

    def _take_folder(self, parts: ExitStack) -> None:
        """Make the folder ours for the time of the run: a second run would end the first one's tokens."""
        try:
            self.instance.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = parts.enter_context((self.instance / "demo.lock").open("w"))
        except OSError as error:
            raise CannotRun(
                f"INSTANCE_PATH is {str(self.instance)!r}, which cannot be used ({error.strerror}). "
                "It takes a folder that can be written."
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CannotRun(
                f"Another 'make run' is using {_shown(self.instance)}. Stop it, or choose another folder: "
                f"INSTANCE_PATH=/tmp/demo PORT={self.port} make run"
            ) from None

    def _start_parts(self, parts: ExitStack) -> None:
        if not self.environ.get("SMTP_HOST"):
            mail = parts.enter_context(MailFolder(self.instance / "mail"))
            self.mail = f"is put into {_shown(mail.folder)}/"
            self.environ |= {"SMTP_HOST": mail.host, "SMTP_PORT": str(mail.port)}
        if self.environ.get("TRANSPORT") == "redis" and "REDIS_URL" not in self.environ:
            self.environ["REDIS_URL"] = parts.enter_context(RedisServer()).url

    def _flask(self, *arguments: str) -> str:
        """Run a command of the service and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "flask", *arguments],
            cwd=ROOT,
            env=self.environ | {"UNDERSTUDY_WORKER": "off"},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        if done.returncode:
            raise CannotRun(f"'flask {' '.join(arguments)}' failed; its message is above.")
        return done.stdout

    def _serve(self, parts: ExitStack) -> subprocess.Popen[bytes]:
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "wsgi:app", "--bind", f"127.0.0.1:{self.port}"],
            cwd=ROOT,
            env={"UNDERSTUDY_WORKER": "in-process"} | self.environ,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us to handle
        )
        guard.watch_process(server.pid)
        parts.callback(_end, server)
        return server

    def _wait_until_ready(self, server: subprocess.Popen[bytes]) -> None:
        def is_ready() -> bool:
            if server.poll() is not None:
                raise CannotRun("The web server ended while starting; its message is above.")
            return self.is_over or _answers(f"{self.url}/api/health/ready")

        try:
            wait_for(is_ready, "the service", timeout_seconds=START_SECONDS, every_seconds=0.1)
        except TimeoutError as error:
            raise CannotRun(str(error)) from None

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.is_over = True

    def _welcome(self, tokens: dict[str, str]) -> str:
        listing = "\n".join(f"  {role:<9} {secret}" for role, secret in tokens.items())
        bearer = f"-H 'Authorization: Bearer {tokens['member']}'"
        order = """-H 'Content-Type: application/json' -d '{"type": "WIKI_PAGES"}'"""
        pick_id = r"""sed 's/.*"id": *"\([^"]*\)".*/\1/'"""
        patiently = "--retry 20 --retry-delay 1 --retry-all-errors"
        exports = f"{self.url}/api/exports"
        return f"""
The service is at {self.url} (Ctrl-C stops it).

API tokens of the demo organisation, one per role, and the host's, who sees everything:
{listing}

See the jobs at {self.url}/api/jobs/dashboard, and exports at {self.url}/exports; a token signs you in.
The first ones are samples: three of them fail, for you to see how that looks.

Ask for an export, then follow it to the file:
  EXPORT=$(curl -s {bearer} {order} {exports} | {pick_id})
  curl -sf {patiently} {bearer} -o wiki.csv {exports}/$EXPORT/download && head -3 wiki.csv

Mail that it sends {self.mail}.
"""


def main() -> int:
    """Run the demo; return the exit code."""
    try:
        return Demo(dict(os.environ)).run()
    except CannotRun as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise CannotRun(f"PORT is {text!r}; it takes a number from 1 to 65535.")
    return int(text)


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise CannotRun(
                f"Port {port} cannot be used ({error.strerror}). Choose another: PORT=8001 make run"
            ) from None


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    guard.forget_process(server.pid)


def _shown(path: Path) -> Path:
    """Return the path as somebody in the project's folder would type it."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    sys.exit(main())
