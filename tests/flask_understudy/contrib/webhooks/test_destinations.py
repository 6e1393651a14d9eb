"""Where webhooks may go, and where not, whatever a URL looks like."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_understudy.contrib.webhooks import destinations
from flask_understudy.contrib.webhooks.destinations import Rules, check, is_public, read, vet
from flask_understudy.contrib.webhooks.errors import DestinationNotAllowed, InvalidWebhook

STRICT = Rules(ports=frozenset({443, 8443}))
LOCAL = Rules((ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("10.1.0.0/16")), ports=frozenset({443}))

REFUSED = [
    "",
    "http://",
    "https://",
    "https:///path",
    "example.com/hook",
    "//example.com",
    "file:///etc/passwd",
    "gopher://example.com",
    "ftp://example.com",
    "javascript:alert(1)",
    "http://example.com",
    "https://127.0.0.1",
    "https://2130706433",
    "https://134744072",
    "https://0x7f.1",
    "https://0x7f000001",
    "https://0177.0.0.1",
    "https://127.1",
    "https://0",
    "https://0.0.0.0",
    "https://1.2.3",
    "https://256.1.1.1",
    "https://[::]",
    "https://[::1]",
    "https://[::ffff:169.254.169.254]",
    "https://[::ffff:8.8.8.8]",
    "https://[::169.254.169.254]",
    "https://[64:ff9b::a9fe:a9fe]",
    "https://[64:ff9b:1::1]",
    "https://[2002:a9fe:a9fe::]",
    "https://[2001:0:1::1]",
    "https://[2001:db8::1]",
    "https://[fe80::1]",
    "https://[fe80::1%25eth0]",
    "https://[fec0::1]",
    "https://[fd00:ec2::254]",
    "https://[ff02::1]",
    "https://[::1",
    "https://[v1.x]/",
    "https://10.0.0.1",
    "https://172.16.0.1",
    "https://172.31.255.255",
    "https://192.168.1.1",
    "https://169.254.169.254/latest",
    "https://168.63.129.16",
    "https://100.64.0.1",
    "https://100.100.100.200",
    "https://198.18.0.1",
    "https://192.0.0.192",
    "https://224.0.0.1",
    "https://240.0.0.1",
    "https://255.255.255.255",
    "https://localhost",
    "https://localhost.",
    "https://LOCALHOST",
    "https://a.localhost",
    "https://metadata.google.internal",
    "https://printer.local",
    "https://user:pw@example.com",
    "https://user@example.com",
    "https://@example.com",
    "https://example.com:22",
    "https://example.com:80",
    "https://example.com:0",
    "https://example.com:99999",
    "https://example.com:x",
    "https://good.com#@evil.com",
    "https://good.com\\@evil.com",
    "https://exa mple.com",
    "https://example.com/\r\nX: y",
    "https://example.com/\t",
    "https://example.com/\x00",
    "https://ⓔⓧⓐⓜⓟⓛⓔ.com",
    "https://exämple.com",
    "https://example。com",
    "https://-example.com",
    "https://exam..ple.com",
    "https://" + "a" * 300 + ".com",
    "https://" + "a." * 150 + "com",
    "https://example.com/" + "a" * 2_000,
    "https://%31%32%37.0.0.1",
]


@pytest.mark.parametrize("url", REFUSED, ids=lambda url: repr(url[:40]))
def test_a_url_that_leads_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(InvalidWebhook) as refused:
        read(url, STRICT)

    assert refused.value.field == "url"


@pytest.mark.parametrize(
    ("url", "origin", "target"),
    [
        ("https://example.com", "https://example.com:443", "/"),
        ("HTTPS://Example.COM:8443/Hook?a=b", "https://example.com:8443", "/Hook?a=b"),
        ("https://example.com.", "https://example.com:443", "/"),
        ("https://xn--exmple-cua.com/x", "https://xn--exmple-cua.com:443", "/x"),
        ("https://8.8.8.8/x", "https://8.8.8.8:443", "/x"),
        ("https://[2606:4700::1111]/", "https://[2606:4700::1111]:443", "/"),
        ("https://example.com?x", "https://example.com:443", "/?x"),
    ],
)
def test_a_url_is_taken_apart(url: str, origin: str, target: str) -> None:
    destination = read(url, STRICT)

    assert (destination.origin, destination.target) == (origin, target)


@pytest.mark.parametrize(
    ("answers", "passes"),
    [
        (["93.184.215.14"], True),
        (["93.184.215.14", "2606:4700::1111"], True),
        (["127.0.0.1"], False),
        (["93.184.215.14", "::1"], False),
        (["93.184.215.14", "10.0.0.1"], False),
        (["::ffff:93.184.215.14"], False),
        (["fe80::1%eth0"], False),
        (["2606:4700::1111%1"], False),
        ([], False),
    ],
)
def test_all_addresses_of_a_name_have_to_be_public(answers: list[str], passes: bool) -> None:
    destination = read("https://example.com", STRICT)

    if passes:
        assert vet(destination, STRICT, lambda host, port: answers) == answers
    else:
        with pytest.raises(DestinationNotAllowed, match="^destination_not_allowed$"):
            vet(destination, STRICT, lambda host, port: answers)


def test_a_name_without_an_address_gets_the_same_text() -> None:
    def fails(host: str, port: int) -> list[str]:
        raise socket.gaierror("no such name")

    with pytest.raises(DestinationNotAllowed, match="^destination_not_allowed$"):
        vet(read("https://example.com", STRICT), STRICT, fails)


def test_a_name_is_resolved_once_per_attempt() -> None:
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["93.184.215.14"] if len(asked) == 1 else ["127.0.0.1"]

    assert vet(read("https://example.com", STRICT), STRICT, rebinding) == ["93.184.215.14"]
    with pytest.raises(DestinationNotAllowed):
        vet(read("https://example.com", STRICT), STRICT, rebinding)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("url", "answers", "passes"),
    [
        ("http://127.0.0.1:9000", ["127.0.0.1"], True),
        ("http://receiver.example:9000", ["10.1.2.3"], True),
        ("http://receiver.example", ["93.184.215.14"], False),
        ("https://receiver.example:9000", ["93.184.215.14"], False),
        ("https://receiver.example", ["93.184.215.14"], True),
        ("https://receiver.example", ["10.2.0.1"], False),
    ],
)
def test_what_is_allowed_may_be_reached_at_any_port_and_nothing_else(
    url: str, answers: list[str], passes: bool
) -> None:
    destination = read(url, LOCAL)

    if passes:
        assert vet(destination, LOCAL, lambda host, port: answers) == answers
    else:
        with pytest.raises(DestinationNotAllowed):
            vet(destination, LOCAL, lambda host, port: answers)


@pytest.mark.parametrize(
    ("url", "answers", "passes"),
    [
        ("http://127.0.0.1:9000", ["127.0.0.1"], True),
        ("https://receiver.example:9000", ["10.1.2.3"], True),
        ("https://receiver.example:9000", ["10.1.2.3", "93.184.215.14"], False),
        ("https://receiver.example:9000", ["93.184.215.14"], False),
        ("https://receiver.example:9000", ["10.2.0.1"], False),
        ("https://receiver.example:9000", [], False),
        ("https://93.184.215.14:9000", ["93.184.215.14"], False),
    ],
)
def test_a_closed_port_is_refused_before_anything_is_stored(url: str, answers: list[str], passes: bool) -> None:
    """Also where a name could lead into a network that is allowed; it has to lead there and nowhere else."""
    if passes:
        check(url, LOCAL, lambda host, port: answers)
    else:
        with pytest.raises(InvalidWebhook, match="has the port 9000; open are 443"):
            check(url, LOCAL, lambda host, port: answers)


def test_a_name_at_an_open_port_is_not_resolved_until_it_is_sent_to() -> None:
    def resolves(host: str, port: int) -> list[str]:
        raise AssertionError("was resolved")

    check("https://receiver.example", LOCAL, resolves)
    check("https://receiver.example:9000", Rules(LOCAL.allowed), resolves)


def test_loopback_names_resolve_to_what_is_refused() -> None:
    for host in ("127.1", "2130706433", "0x7f.1", "localhost"):
        destination = destinations.Destination("https", host, 443, "/")
        with pytest.raises(DestinationNotAllowed):
            vet(destination, STRICT)


@given(st.ip_addresses())
def test_what_python_calls_special_is_never_public(address: destinations.Address) -> None:
    assert not is_public(address) or (address.is_global and not address.is_multicast)
