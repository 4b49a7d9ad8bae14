"""Refusals: Binance's error codes and texts, each made in one place.

A refusal is an ordinary answer of the exchange; it is raised where it is found and written where the request came in.
"""

from __future__ import annotations

from typing import Final

MARKET_IS_CLOSED: Final = "Market is closed."
ACCOUNT_IS_CLOSED: Final = "This account may not place or cancel orders."


class Refusal(Exception):
    """The exchange says no: a code, a text, an HTTP status; `retry_at_ms` is set when waiting would help.

    `data` is what else the answer tells, None for nothing.
    """

    data: object = None

    def __init__(self, code: int, text: str, status: int = 400, retry_at_ms: int | None = None) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text
        self.status = status
        self.retry_at_ms = retry_at_ms


def bad_key_format() -> Refusal:
    return Refusal(-2014, "API-key format invalid.", status=401)


def bad_key() -> Refusal:
    return Refusal(-2015, "Invalid API-key, IP, or permissions for action.", status=401)


def missing(name: str) -> Refusal:
    return Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def not_required(name: str) -> Refusal:
    return Refusal(-1106, f"Parameter '{name}' sent when not required.")


def illegal(name: str, legal: str) -> Refusal:
    return Refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def invalid(name: str) -> Refusal:
    return Refusal(-1130, f"Data sent for parameter '{name}' is not valid.")


def too_precise(name: str) -> Refusal:
    return Refusal(-1111, f"Parameter '{name}' has too much precision.")


def filter_failure(name: str) -> Refusal:
    return Refusal(-1013, f"Filter failure: {name}")


def rejected(text: str) -> Refusal:
    return Refusal(-2010, text)


def amend_rejected(text: str) -> Refusal:
    return Refusal(-2038, text)


def insufficient_balance() -> Refusal:
    return rejected("Account has insufficient balance for requested action.")


def duplicate_order() -> Refusal:
    return rejected("Duplicate order sent.")


def wrong_price_relation() -> Refusal:
    return rejected("The relationship of the prices for the orders is not correct.")


def cancel_rejected(text: str) -> Refusal:
    return Refusal(-2011, text)


def unknown_order() -> Refusal:
    return cancel_rejected("Unknown order sent.")


def no_such_order() -> Refusal:
    return Refusal(-2013, "Order does not exist.")


def archived_order() -> Refusal:
    text = "Order was canceled or expired with no executed qty over 90 days ago and has been archived."
    return Refusal(-2026, text)


def no_such_list() -> Refusal:
    return Refusal(-2013, "Order list does not exist.")


def unsupported_combination() -> Refusal:
    return Refusal(-1014, "Unsupported order combination.")


def no_reference_price() -> Refusal:
    return Refusal(-2043, "This symbol doesn't have a reference price.")


def bad_symbol() -> Refusal:
    return Refusal(-1121, "Invalid symbol.")


def bad_combination() -> Refusal:
    return Refusal(-1128, "Combination of optional parameters invalid.")
