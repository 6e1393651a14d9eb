"""Requests to servers that mean no good, and to ones with certificates."""

from __future__ import annotations

import datetime as dt
import gzip
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from flask_understudy.contrib.webhooks import posting
from flask_understudy.contrib.webhooks.destinations import Destination
from flask_understudy.contrib.webhooks.posting import Answer, post
from tools.receiver import Receiver, Reply

Script = Callable[[socket.socket], None]
HEADERS = {"Content-Type": "application/json"}


def to(port: int, host: str = "receiver.example", scheme: str = "http") -> Destination:
    return Destination(scheme, host, port, "/hook?a=b")


def send(port: int, **options: float) -> Answer:
    return post(to(port), ["127.0.0.1"], b"{}", HEADERS, **options)  # type: ignore[arg-type]


@pytest.fixture
def serve() -> Iterator[Callable[[Script], int]]:
    """Start a server that does with each connection what a script says; return its port."""
    listeners: list[socket.socket] = []

    def start(script: Script) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        connection.recv(65_536)
                        script(connection)

        threading.Thread(target=accept, daemon=True).start()
        port: int = listener.getsockname()[1]
        return port

    yield start
    for listener in listeners:
        listener.close()


def test_the_address_is_connected_to_and_the_name_is_kept(receiver: Receiver) -> None:
    answer = send(receiver.port)

    assert answer.status == 204 and answer.is_success
    [got] = receiver.requests
    assert (got.path, got.headers["host"]) == ("/hook?a=b", f"receiver.example:{receiver.port}")
    assert got.headers["accept-encoding"] == "identity"


def test_the_next_address_is_tried_when_one_does_not_answer(receiver: Receiver) -> None:
    assert post(to(receiver.port), ["127.0.0.2", "127.0.0.1"], b"{}", HEADERS).status == 204


def test_a_refused_connection_is_no_answer(receiver: Receiver) -> None:
    receiver.close()

    answer = send(receiver.port)

    assert (answer.status, answer.body, answer.is_outage) == (None, "", True)


def drip(connection: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 10_000:
        connection.sendall(bytes([byte]))
        threading.Event().wait(0.02)


def drip_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
    for _ in range(10_000):
        connection.sendall(b"x")
        threading.Event().wait(0.02)


def say_nothing(connection: socket.socket) -> None:
    connection.recv(65_536)


def flood(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65_536)


def flood_headers(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n")


def go_on_for_ever(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def speak_something_else(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("script", "status"),
    [
        (drip, None),
        (drip_body, 200),
        (say_nothing, None),
        (flood, 200),
        (flood_headers, None),
        (go_on_for_ever, None),
        (speak_something_else, None),
    ],
)
def test_a_hostile_server_is_left_after_the_time_that_there_is(
    serve: Callable[[Script], int], script: Script, status: int | None
) -> None:
    threads = threading.active_count()

    answer = send(serve(script), seconds=0.5)

    assert answer.status == status
    assert len(answer.body) <= posting.MOST_KEPT_CHARACTERS
    assert threading.active_count() <= threads + 1  # the server's


def test_a_compressed_answer_is_not_unpacked(receiver: Receiver) -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    receiver.replies = [Reply(200, {"Content-Encoding": "gzip"}, bomb)]

    answer = send(receiver.port)

    assert answer.status == 200
    assert "0000000000" not in answer.body and answer.body.isprintable()


def test_what_is_kept_of_an_answer_is_short_printable_and_without_secrets(receiver: Receiver) -> None:
    told = b"\x1b[31mred\x00 Bearer abcdefghijklmnop \xff" + b"z" * 100_000
    receiver.replies = [Reply(500, {"Retry-After": "7"}, told)]

    answer = send(receiver.port)

    assert (answer.status, answer.retry_after, answer.is_outage) == (500, "7", True)
    assert len(answer.body) == posting.MOST_KEPT_CHARACTERS and answer.body.isprintable()
    assert "abcdefghijklmnop" not in answer.body


# -- TLS ---------------------------------------------------------------------------------------------------------------


class Authority:
    """A certificate authority for one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign("Test CA", self.key, None, days=1)

    def _sign(
        self, name: str, key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName] | None, days: int
    ) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        issuer = subject if names is None else self.certificate.subject
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=30))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
        )
        if names is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def server(self, name: str, days: int = 1) -> ssl.SSLContext:
        """What a server for that name speaks TLS with."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        with suppress(ValueError):
            names = [x509.IPAddress(ipaddress.ip_address(name))]
        path = self.folder / "server.pem"
        encoding = serialization.Encoding.PEM
        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        certificate = self._sign(name, key, names, days)
        path.write_bytes(key.private_bytes(encoding, form, plain) + certificate.public_bytes(encoding))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def client(self) -> ssl.SSLContext:
        """What trusts this authority alone."""
        encoded = self.certificate.public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=encoded)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_the_certificate_is_checked_against_the_name(authority: Authority) -> None:
    with Receiver(context=authority.server("receiver.example")) as receiver:
        answer = post(to(receiver.port, scheme="https"), ["127.0.0.1"], b"{}", HEADERS, context=authority.client())

        assert answer.status == 204
        assert receiver.requests[0].headers["host"] == f"receiver.example:{receiver.port}"


@pytest.mark.parametrize(
    ("name", "days", "trusted"),
    [
        ("other.example", 1, True),
        ("127.0.0.1", 1, True),
        ("receiver.example", -1, True),
        ("receiver.example", 1, False),
    ],
    ids=["another name", "the address", "expired", "another authority"],
)
def test_a_certificate_that_does_not_fit_ends_it(authority: Authority, name: str, days: int, trusted: bool) -> None:
    context = authority.client() if trusted else ssl.create_default_context()
    with Receiver(context=authority.server(name, days)) as receiver:
        answer = post(to(receiver.port, scheme="https"), ["127.0.0.1"], b"{}", HEADERS, context=context)

        assert answer.status is None
        assert receiver.requests == []


@pytest.mark.timeout(30)
def test_a_handshake_that_never_ends_is_left_too(serve: Callable[[Script], int]) -> None:
    answer = post(to(serve(say_nothing), scheme="https"), ["127.0.0.1"], b"{}", HEADERS, seconds=0.5)

    assert answer.status is None
