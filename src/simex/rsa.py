"""Checking RSA signatures (RSASSA-PKCS1-v1_5 with SHA-256, RFC 8017) with the standard library alone.

Checking is arithmetic on public numbers only; whoever signs uses a real library.
"""

from __future__ import annotations

import hashlib
from typing import Final

BITS_MIN: Final = 2048
BITS_MAX: Final = 4096
_SEQUENCE: Final = 0x30
_INTEGER: Final = 0x02
_BIT_STRING: Final = 0x03
# SEQUENCE of the object identifier rsaEncryption and NULL (RFC 3279, 2.3.1).
_RSA: Final = bytes.fromhex("300d06092a864886f70d0101010500")
# The DigestInfo of SHA-256 up to the digest itself (RFC 8017, 9.2).
_SHA256: Final = bytes.fromhex("3031300d060960864801650304020105000420")


def holds(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature of a message belongs to a public key (SPKI, DER); ValueError for what is no such key."""
    modulus, exponent = numbers_of(public_key)
    length = (modulus.bit_length() + 7) // 8
    value = int.from_bytes(signature)
    if len(signature) != length or value >= modulus:
        return False
    digest = _SHA256 + hashlib.sha256(message).digest()
    padded = b"\x00\x01" + b"\xff" * (length - len(digest) - 3) + b"\x00" + digest
    return pow(value, exponent, modulus).to_bytes(length) == padded


def numbers_of(public_key: bytes) -> tuple[int, int]:
    """Modulus and exponent; ValueError for another kind of key or a size that Binance does not take."""
    content, rest = _read(public_key, _SEQUENCE)
    if rest or not content.startswith(_RSA):
        raise ValueError("not an RSA public key")
    bits, _ = _read(content[len(_RSA) :], _BIT_STRING)
    pair, _ = _read(bits[1:], _SEQUENCE)
    modulus, pair = _read(pair, _INTEGER)
    exponent, _ = _read(pair, _INTEGER)
    found = int.from_bytes(modulus), int.from_bytes(exponent)
    if not BITS_MIN <= found[0].bit_length() <= BITS_MAX:
        raise ValueError(f"RSA keys have {BITS_MIN} to {BITS_MAX} bits, not {found[0].bit_length()}")
    return found


def _read(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of the DER element at the front, and what follows it."""
    if len(data) < 2 or data[0] != tag:
        raise ValueError("not a public key in DER")
    start, length = 2, data[1]
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start])
    if len(data) < start + length:
        raise ValueError("a public key is cut short")
    return data[start : start + length], data[start + length :]
