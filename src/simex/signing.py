"""What exactly is signed, and whether a signature holds.

REST signs the raw query followed by the raw body, byte for byte as received, without the signature parameter and with
nothing between them. The WebSocket API signs its parameters sorted by name, not percent-encoded. Another key type is
one more entry in `CHECKS`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final

from simex import ed25519, rsa

_LONGER_THAN_ED25519: Final = 64  # bytes of a public key in DER; Ed25519 has 44, RSA some hundreds

# A check gets what the account registered (a secret or a public key), the payload and the signature text.
SignatureCheck = Callable[[str, bytes, str], bool]


def rest_payload(query: str, body: bytes) -> bytes:
    """The bytes a REST signature covers."""
    return _without_signature(query.encode("utf-8", "surrogateescape")) + _without_signature(body)


def api_payload(params: Mapping[str, str]) -> bytes:
    """The bytes a WebSocket API signature covers: raw UTF-8, sorted in byte order, `apiKey` included."""
    pairs = sorted((name.encode(), value.encode()) for name, value in params.items() if name != "signature")
    return b"&".join(name + b"=" + value for name, value in pairs)


def key_type_of(public_key: str) -> str:
    """RSA or ED25519, by the body of a public PEM file; ValueError for an RSA key of a size Binance does not take."""
    decoded = base64.b64decode(public_key)
    if len(decoded) < _LONGER_THAN_ED25519:
        return "ED25519"
    rsa.numbers_of(decoded)
    return "RSA"


def verify(key_type: str, credential: str, payload: bytes, signature: str) -> bool:
    """Whether the signature is the account's; KeyError for a key type that has no check."""
    return CHECKS[key_type](credential, payload, signature)


def hmac_signature(secret: str, payload: bytes) -> str:
    """HMAC-SHA256 as lower-case hex."""
    return hmac.digest(secret.encode(), payload, hashlib.sha256).hex()


def _hmac_holds(secret: str, payload: bytes, signature: str) -> bool:
    return hmac.compare_digest(hmac_signature(secret, payload).encode(), signature.lower().encode())


def _without_signature(text: bytes) -> bytes:
    if b"signature=" not in text:
        return text
    return b"&".join(part for part in text.split(b"&") if not part.startswith(b"signature="))


def _ed25519_holds(public_key: str, payload: bytes, signature: str) -> bool:
    """The key is the body of its PEM file (SPKI): the last 32 bytes are the point."""
    try:
        return ed25519.holds(base64.b64decode(public_key)[-32:], payload, base64.b64decode(signature, validate=True))
    except ValueError:
        return False


def _rsa_holds(public_key: str, payload: bytes, signature: str) -> bool:
    """The key is the body of its PEM file (SPKI)."""
    try:
        return rsa.holds(base64.b64decode(public_key), payload, base64.b64decode(signature, validate=True))
    except ValueError:
        return False


CHECKS: Final[dict[str, SignatureCheck]] = {"HMAC": _hmac_holds, "ED25519": _ed25519_holds, "RSA": _rsa_holds}
