"""What an API key may do, as the venue tells it, and whether a bot should hold such a key.

Rules: a key that may withdraw is refused, whatever else it may do; what only makes a theft easier is a warning. The
venue tells the rights of a key at the spot host, for both markets; its testnets do not tell them.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct
from msgspec.json import Decoder

from surefoot.binance import signing
from surefoot.binance.dialogue import Keys
from surefoot.binance.numbers import decode

RIGHTS_PATH = "/sapi/v1/account/apiRestrictions"
EXPIRY_NEAR_MS = 7 * 86_400_000


class Rights(Struct, frozen=True, gc=False, rename="camel"):
    """The venue's words; a right that it does not mention is not given. `expires_ms` is when trading ends."""

    ip_restrict: bool = False
    enable_reading: bool = False
    enable_spot_and_margin_trading: bool = False
    enable_futures: bool = False
    enable_withdrawals: bool = False
    enable_internal_transfer: bool = False
    permits_universal_transfer: bool = False
    trading_authority_expiration_time: int | None = None


_RIGHTS = Decoder(Rights)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`refused` is why a bot must not hold the key, `warnings` what should be better, `fine` what is as it should."""

    refused: tuple[str, ...]
    warnings: tuple[str, ...]
    fine: tuple[str, ...]


def rights_request(keys: Keys, recv_window_ms: int, venue_ms: int) -> tuple[str, dict[str, str]]:
    """Path and query, signed, and the headers."""
    query = signing.query_text([("recvWindow", str(recv_window_ms)), ("timestamp", str(venue_ms))])
    signature = signing.query_text([("signature", signing.sign_rest(keys.secret, query.encode()))])
    return f"{RIGHTS_PATH}?{query}&{signature}", {"X-MBX-APIKEY": keys.api_key}


def read_rights(body: bytes) -> Rights:
    """Raises BadFrame for what cannot be read."""
    return decode(_RIGHTS, body, "apiRestrictions")


def verdict_on(rights: Rights, venue_ms: int, *, futures: bool) -> Verdict:
    """What to think of a key that is to trade on spot, or on futures."""
    refused, warnings, fine = [], [], []
    if rights.enable_withdrawals:
        refused.append("the key may withdraw: a bot's key must not; make one without that right")
    else:
        fine.append("it may not withdraw")
    if rights.enable_internal_transfer or rights.permits_universal_transfer:
        warnings.append("the key may transfer between accounts, which the bot never does: take that right away")
    may_trade = rights.enable_futures if futures else rights.enable_spot_and_margin_trading
    market = "futures" if futures else "spot"
    if not (rights.enable_reading and may_trade):
        refused.append(f"the key may not read and trade {market}: give it these rights, and no others")
    else:
        fine.append(f"it may read and trade {market}")
    if rights.ip_restrict:
        fine.append("it is bound to a list of IP addresses")
    else:
        warnings.append("the key works from any IP address: bind it to this machine's")
    expires_ms = rights.trading_authority_expiration_time
    if expires_ms is not None and expires_ms <= venue_ms:
        refused.append("the key's right to trade has expired: renew it")
    elif expires_ms is not None and expires_ms - venue_ms < EXPIRY_NEAR_MS:
        hours = (expires_ms - venue_ms) // 3_600_000
        warnings.append(f"the key's right to trade ends in {hours // 24} days and {hours % 24} h: renew it")
    return Verdict(tuple(refused), tuple(warnings), tuple(fine))


def kind_of_key(secret: str) -> str:
    """HMAC, RSA or Ed25519. ValueError for a private key that the venue would not take."""
    if not secret.startswith(signing.PEM_MARK):
        return "HMAC"
    return "Ed25519" if len(signing.sign_rest(secret, b"")) < 100 else "RSA"
