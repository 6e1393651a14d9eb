"""An SMTP server that keeps what it is sent instead of delivering it."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tools.servers.process import free_port
from tools.waiting import wait_for

ACCEPTED = "250 OK"


class SmtpCatcher:
    """An SMTP server on 127.0.0.1; a context manager.

    Attributes:
        host: Always 127.0.0.1.
        port: The port it listens on.
        messages: What was accepted, oldest first; the envelope is in `X-MailFrom` and `X-RcptTo`.
        attempts: How many messages were offered, accepted or not.
    """

    host = "127.0.0.1"

    def __init__(self, *, port: int | None = None) -> None:
        """Prepare a catcher on `port`, or on a free one, without starting it."""
        self.port = port or free_port()
        self.messages: list[EmailMessage] = []
        self.attempts = 0
        self._answer = ACCEPTED
        self._refused: dict[str, str] = {}
        self._controller = Controller(self, hostname=self.host, port=self.port)

    def start(self) -> Self:
        """Start listening."""
        self._controller.start()
        return self

    def close(self) -> None:
        """Listen no more: from now on connections are refused."""
        self._controller.stop(no_assert=True)

    def answer(self, reply: str = ACCEPTED) -> None:
        """Answer the messages to come with `reply`: "550 no such user", "451 try again later"."""
        self._answer = reply

    def refuse(self, address: str, reply: str) -> None:
        """Answer messages to one address with `reply`, whatever the others are answered."""
        self._refused[address] = reply

    def wait(self, count: int = 1, *, timeout_seconds: float = 10.0) -> list[EmailMessage]:
        """Wait until there are `count` messages and return all there are.

        Raises:
            TimeoutError: There were fewer when the time was over.
        """
        wait_for(
            lambda: len(self.messages) >= count,
            f"{count} mails",
            timeout_seconds=timeout_seconds,
        )
        return list(self.messages)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take one message; called by aiosmtpd."""
        self.attempts += 1
        answer = next((self._refused[to] for to in envelope.rcpt_tos if to in self._refused), self._answer)
        if answer.startswith("2"):
            content: Any = envelope.content
            message = message_from_bytes(content, policy=policy.default)
            message["X-MailFrom"] = envelope.mail_from
            message["X-RcptTo"] = ", ".join(envelope.rcpt_tos)
            self.messages.append(message)
        return answer

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()
