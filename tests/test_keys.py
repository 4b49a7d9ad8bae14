"""All three kinds of keys open the whole dialogue: the same bot and exchange, another signature."""

from __future__ import annotations

from base64 import b64encode
from decimal import Decimal

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from simex.exchange import Exchange
from simex.venue import DEFAULT_INSTRUMENTS, AccountSpec
from surefoot.assembly import build_session
from surefoot.binance.dialogue import Keys, SessionFailed
from surefoot.core.facts import Books
from surefoot.core.messages import RunStarted
from surefoot.research.exact import VirtualTime
from tests.binance.test_signing import ED25519_PEM
from tests.simex.test_signing import ED25519_PUBLIC
from tests.stage import START_MS, Script, scripted_engine, stage_settings

RSA_KEY = rsa.generate_private_key(65_537, 2_048)
RSA_PEM = RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
RSA_PUBLIC = b64encode(RSA_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()

KINDS = {
    "RSA": (
        Keys("key", RSA_PEM),
        AccountSpec("key", RSA_PUBLIC, {"USDT": Decimal(1_000)}, key_type="RSA"),
    ),
    "HMAC": (Keys("key", "secret"), AccountSpec("key", "secret", {"USDT": Decimal(1_000)})),
    "ED25519": (
        Keys("key", ED25519_PEM),
        AccountSpec("key", ED25519_PUBLIC, {"USDT": Decimal(1_000)}, key_type="ED25519"),
    ),
}


def life(keys: Keys, account: AccountSpec) -> VirtualTime:
    settings = stage_settings(["BTCUSDT"])
    engine = scripted_engine(settings, Script())
    session = build_session(settings, keys, lambda: 0.5, watch_always=True)
    driver = VirtualTime(engine, session, Exchange(DEFAULT_INSTRUMENTS, [account]), None, 10, lambda message: None)
    driver.begin(RunStarted(START_MS, "keys", "paper", settings.market.symbols, "", "0"))
    driver.run(START_MS + 5_000)
    return driver


@pytest.mark.spec("NET-1", "SIM-1")
@pytest.mark.parametrize("kind", KINDS)
def test_account_is_read_and_streamed_with_this_key(kind: str) -> None:
    engine = life(*KINDS[kind]).engine
    assert engine.books is Books.AGREE
    assert engine.links == {"market", "account"}


@pytest.mark.spec("NET-1")
def test_key_of_the_other_kind_is_refused_in_words() -> None:
    with pytest.raises(SessionFailed, match="signature was refused"):
        life(KINDS["HMAC"][0], KINDS["ED25519"][1])
