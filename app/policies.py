"""Who may do what: the scopes a token can carry and the roles that bundle them.

A scope is what a route asks for. A role is what a person has, and gives a fixed set of scopes.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Every scope, weakest first. ``payload`` is seeing what jobs carry; ``tenants`` is the operator of the whole
#: service, who sees every organisation and acts on what they share: no role has it, only a token made on the host.
SCOPES = ("read", "payload", "enqueue", "operate", "admin", "tenants")

#: The scopes each role gives, weakest role first.
ROLES: dict[str, frozenset[str]] = {
    "viewer": frozenset({"read"}),
    "member": frozenset({"read", "enqueue"}),
    "operator": frozenset({"read", "payload", "enqueue", "operate"}),
    "admin": frozenset({"read", "payload", "enqueue", "operate", "admin"}),
}


def check_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """Return ``scopes`` as a set, refusing names that do not exist.

    Raises:
        ValueError: Naming the unknown scope and the valid ones.
    """
    wanted = frozenset(scopes)
    unknown = sorted(wanted - set(SCOPES))
    if unknown:
        raise ValueError(f"unknown scope {unknown[0]!r}; valid scopes are {', '.join(SCOPES)}")
    return wanted


def scopes_of(role: str) -> frozenset[str]:
    """Return the scopes of ``role``; an unknown role has none."""
    return ROLES.get(role, frozenset())
