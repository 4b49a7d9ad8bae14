"""What an API key may do: as the simulated exchange tells it, and what the bot thinks of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from simex.exchange import Exchange
from simex.venue import DEFAULT_INSTRUMENTS, AccountSpec, HttpRequest, KeyRights
from surefoot.binance.dialogue import Keys
from surefoot.binance.keys import EXPIRY_NEAR_MS, Verdict, kind_of_key, read_rights, rights_request, verdict_on
from surefoot.binance.wire import BadFrame
from surefoot.config import Mode, venue_for
from surefoot.selfcheck import active_lines, key_lines
from tests.binance.test_signing import ED25519_PEM
from tests.stage import stage_settings
from tests.test_keys import RSA_PEM

NOW_MS = 1_790_000_000_000
KEYS = Keys("key", "secret")
BOUND: dict[str, Any] = {"addresses": ("127.0.0.1",)}


def judged(futures: bool = False, **rights: Any) -> Verdict:
    """The verdict on a key that the simulated exchange has given these rights."""
    given = KeyRights(**rights)
    account = AccountSpec(KEYS.api_key, KEYS.secret, {"USDT": Decimal(1)}, rights=given)
    target, headers = rights_request(KEYS, 5_000, NOW_MS)
    lowered = {name.lower(): value for name, value in headers.items()}
    answer = Exchange(DEFAULT_INSTRUMENTS, [account]).rest(HttpRequest("GET", target, lowered, b""), NOW_MS)
    assert answer.status == 200, answer.body
    return verdict_on(read_rights(answer.body), NOW_MS, futures=futures)


@pytest.mark.spec("NET-7")
def test_key_that_trades_from_one_place_and_nothing_else_is_fine() -> None:
    verdict = judged(**BOUND)
    assert (verdict.refused, verdict.warnings) == ((), ())
    assert len(verdict.fine) == 3


@pytest.mark.spec("NET-7")
@pytest.mark.parametrize(
    ("rights", "futures", "word"),
    [
        ({"may_withdraw": True}, False, "withdraw"),
        ({"may_withdraw": True}, True, "withdraw"),
        ({"may_trade_spot": False}, False, "may not read and trade spot"),
        ({"may_trade_futures": False}, True, "may not read and trade futures"),
        ({"expires_ms": NOW_MS}, False, "has expired"),
    ],
)
def test_key_that_a_bot_must_not_hold_is_refused(rights: dict[str, Any], futures: bool, word: str) -> None:
    verdict = judged(futures, **BOUND, **rights)
    (refused,) = verdict.refused
    assert word in refused
    assert key_lines(verdict, KEYS.secret, 0)[0] == f"REFUSED: {refused}"


@pytest.mark.spec("NET-7")
@pytest.mark.parametrize(
    ("rights", "word"),
    [
        ({"addresses": ()}, "any IP address"),
        ({"may_transfer": True}, "transfer"),
        ({"expires_ms": NOW_MS + EXPIRY_NEAR_MS - 3_600_000}, "ends in 6 days and 23 h"),
    ],
)
def test_what_should_be_better_is_a_warning(rights: dict[str, Any], word: str) -> None:
    verdict = judged(**(BOUND | rights))
    assert verdict.refused == ()
    (warning,) = verdict.warnings
    assert word in warning


@pytest.mark.spec("NET-7")
def test_rights_that_are_not_told_are_not_given() -> None:
    verdict = verdict_on(read_rights(b"{}"), NOW_MS, futures=False)
    assert len(verdict.refused) == len(verdict.warnings) == 1
    with pytest.raises(BadFrame):
        read_rights(b'{"enableWithdrawals":"no"}')


@pytest.mark.spec("NET-7")
def test_kind_of_key_is_told() -> None:
    assert [kind_of_key(secret) for secret in ("secret", ED25519_PEM, RSA_PEM)] == ["HMAC", "Ed25519", "RSA"]


@pytest.mark.spec("NET-7")
def test_what_is_active_is_said_at_the_start() -> None:
    settings = stage_settings(["BTCUSDT"]).model_copy(update={"mode": Mode.LIVE})
    text = "\n".join(active_lines(settings, venue_for(Mode.LIVE)))
    for part in ("REAL MONEY", "https://api.binance.com", "BTCUSDT", "stop fixed 2", "breaker", "after 60 s"):
        assert part in text
