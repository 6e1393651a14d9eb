"""Where webhooks may go: what keeps a tenant's URL from reaching into our own network (security rows S9, S10).

A URL is taken apart once, and what is sent is made of the parts. Its host is resolved once per attempt; one address
that is not public refuses all of them, and the connection goes to the very address that passed. So neither a name that
answers differently the second time nor a second parser's reading makes a difference.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from ...config import Config
from .errors import DestinationNotAllowed, InvalidWebhook

LONGEST_URL = 2_000
_PORTS = {"http": 80, "https": 443}

_IPv4 = ipaddress.IPv4Network
_IPv6 = ipaddress.IPv6Network
Network = _IPv4 | _IPv6
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: What is not the public Internet (IANA's registries of special-purpose addresses), and 168.63.129.16, which is public
#: and, inside of Azure, the platform's own.
_REFUSED_IPV4 = tuple(
    map(
        _IPv4,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
#: Global unicast; all others are local, multicast, or wrap an IPv4 address (::ffff:0:0/96, 64:ff9b::/96).
_PUBLIC_IPV6 = _IPv6("2000::/3")
#: Within it: protocols (Teredo among them), documentation, 6to4.
_REFUSED_IPV6 = tuple(map(_IPv6, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LOCAL_NAMES = ("localhost", "local", "internal", "localdomain", "home.arpa", "in-addr.arpa", "ip6.arpa")

Resolver = Callable[[str, int], list[str]]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the application's settings allow beyond the public Internet by HTTPS.

    Attributes:
        allowed: Networks that may be reached although they are not public, by HTTP and at any port too.
        with_http: Whether plain HTTP may be used everywhere.
        ports: The ports that may be used; empty = all.
    """

    allowed: tuple[Network, ...] = ()
    with_http: bool = False
    ports: frozenset[int] = frozenset()

    @classmethod
    def of(cls, config: Config) -> Rules:
        """Return the rules of an application."""
        networks = tuple(ipaddress.ip_network(network) for network in config.webhook_allow)
        return cls(networks, config.webhook_http, frozenset(config.webhook_ports))


#: For reading a URL that was accepted before, whatever the settings say today.
ANYWHERE = Rules((_IPv4("0.0.0.0/0"), _IPv6("::/0")), with_http=True)


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL, taken apart.

    Attributes:
        scheme: `http` or `https`.
        host: A name in lower case, or an address.
        port: The port.
        target: Path and query, as they are sent.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> str:
        """Scheme, host and port: all of a URL that may stand in a log."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def read(url: str, rules: Rules) -> Destination:
    """Take a URL apart, and refuse what can be seen to be none of a receiver without asking anybody.

    Raises:
        InvalidWebhook: It says why; of addresses that are not public it says no more than that.
    """
    if not 1 <= len(url) <= LONGEST_URL:
        raise _invalid(f"has {len(url)} characters; it takes up to {LONGEST_URL}")
    if not re.fullmatch(r"[!-~]+", url) or "\\" in url:
        raise _invalid("has a character that no URL has; write hosts as xn--… and encode the rest with %")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _invalid("cannot be read; it takes one such as https://example.com/hook") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise _invalid("takes https:// and a host, such as https://example.com/hook")
    if "@" in parts.netloc:
        raise _invalid("has a user name or password; put what the receiver needs into the path or query")
    if "#" in url:
        raise _invalid("has a fragment (#…), which is never sent")
    if "[" in parts.netloc and ":" not in parts.hostname:
        raise _invalid("has no valid address in its brackets")
    if port == 0:
        raise _invalid("has port 0")
    address, host = _host(parts.hostname)
    is_allowed = address is not None and is_inside(address, rules)
    if address is not None and not is_allowed and not is_public(address):
        raise _invalid("points to an address that nothing is sent to")
    may_be_allowed = is_allowed or (address is None and bool(rules.allowed))
    if parts.scheme == "http" and not rules.with_http and not may_be_allowed:
        raise _invalid("takes https://")
    port = port or _PORTS[parts.scheme]
    if rules.ports and port not in rules.ports and not may_be_allowed:
        raise _closed(port, rules)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(parts.scheme, host, port, target)


def _host(name: str) -> tuple[Address | None, str]:
    host = name.lower().removesuffix(".")
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host if "%" not in host else ""), host
        except ValueError:
            raise _invalid("has no valid address in its brackets") from None
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):  # a name does not end in a number: this is an address, in whatever notation
        try:
            return ipaddress.IPv4Address(host), host
        except ValueError:
            raise _invalid("has an address that is not written as four plain decimal numbers") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _invalid("has a host that is no name")
    if any(host == local or host.endswith(f".{local}") for local in _LOCAL_NAMES):
        raise _invalid("points to a host that nothing is sent to")
    return None, host


def _invalid(what: str) -> InvalidWebhook:
    return InvalidWebhook("url", f"The URL {what}.")


def _closed(port: int, rules: Rules) -> InvalidWebhook:
    return _invalid(f"has the port {port}; open are {', '.join(map(str, sorted(rules.ports)))}")


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public Internet, and to nobody's platform."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _REFUSED_IPV4)
    if address.scope_id is not None or address not in _PUBLIC_IPV6:
        return False
    return not any(address in network for network in _REFUSED_IPV6)


def is_inside(address: Address, rules: Rules) -> bool:
    """Whether an address was allowed by the application's settings."""
    return any(address.version == network.version and address in network for network in rules.allowed)


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, in the order in which they are to be tried."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def vet(destination: Destination, rules: Rules, resolver: Resolver = resolve) -> list[str]:
    """Return the addresses to connect to, all of which passed.

    Raises:
        DestinationNotAllowed: One of them is not public, or there is none.
    """
    try:
        found = resolver(destination.host, destination.port)
        addresses = [ipaddress.ip_address(text) for text in found]
    except (OSError, ValueError):  # ValueError: a name that no resolver takes, an address with a zone
        raise DestinationNotAllowed from None
    if not addresses or not all(_passes(address, destination, rules) for address in addresses):
        raise DestinationNotAllowed
    return found


def check(url: str, rules: Rules, resolver: Resolver = resolve) -> None:
    """Refuse what nothing would be sent to, before anything is stored.

    At a port that is not open a name is resolved: all its addresses have to be of the networks that are allowed.

    Raises:
        InvalidWebhook: It says why.
    """
    destination = read(url, rules)
    if rules.ports and destination.port not in rules.ports:
        try:
            vet(destination, rules, resolver)
        except DestinationNotAllowed:
            raise _closed(destination.port, rules) from None


def _passes(address: Address, destination: Destination, rules: Rules) -> bool:
    if is_inside(address, rules):
        return True
    is_open = not rules.ports or destination.port in rules.ports
    return is_public(address) and is_open and (rules.with_http or destination.scheme == "https")
