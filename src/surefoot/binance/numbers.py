"""Text to exact decimals, and the checks that every number from outside passes: shared by all that reads the venue."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from msgspec.json import Decoder

from surefoot.binance.wire import BadFrame, BadPrice

T = TypeVar("T")

# No amount of any asset lies beyond 1e±30; what does would upset arithmetic later instead of failing here.
EXPONENT_MAX = 30

_plain_decimal = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?").fullmatch


def decode(decoder: Decoder[T], data: bytes | str, what: str) -> T:
    """The value that the decoder reads. BadFrame, saying of what, when it cannot."""
    try:
        return decoder.decode(data)
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"{what}: {error}") from error


def price_of(text: str, symbol: str, what: str) -> Decimal:
    """A price above zero. BadPrice for anything else."""
    value = amount_of(text, symbol, what)
    if not value:
        raise BadPrice(f"{symbol}: {what} is zero")
    return value


def amount_of(text: str, symbol: str, what: str) -> Decimal:
    """Digits and at most one point: no sign, exponent, blank or underscore, though `Decimal` would take them."""
    if _plain_decimal(text) is None:
        raise BadPrice(f"{symbol}: {what} {text[:40]!r} is not a plain decimal")
    return Decimal(text)


def is_off(price: Decimal, step: Decimal) -> bool:
    """Whether a price is no multiple of a step above zero."""
    try:
        return bool(price % step)
    except InvalidOperation:  # more steps than an exact quotient has digits
        return True


def check_amounts(*amounts: Decimal | None) -> None:
    """BadFrame when one of them is no number that an amount can be; None passes."""
    for amount in amounts:
        if amount is not None and not (amount.is_finite() and abs(amount.adjusted()) <= EXPONENT_MAX):
            raise BadFrame(f"{amount} is not an amount")
