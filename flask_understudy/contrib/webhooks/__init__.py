"""Signed webhooks, as the receiver sees them: `sign` and `verify`."""

from .signing import SignatureInvalid, sign, verify

__all__ = ["SignatureInvalid", "sign", "verify"]
