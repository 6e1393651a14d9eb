"""Signed webhooks.

This much is for receivers and needs nothing more: `verify_headers` accepts a delivery, `verify` a bare signature,
`sign` and `sign_standard` make them. What sends is imported by its own name, `contrib.webhooks.sending`, as it brings
tables and needs the extra `webhooks`.
"""

from .signing import SignatureInvalid, headers, sign, sign_standard, verify, verify_headers

__all__ = ["SignatureInvalid", "headers", "sign", "sign_standard", "verify", "verify_headers"]
