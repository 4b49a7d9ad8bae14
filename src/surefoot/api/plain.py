"""Values as JSON for whoever reads the API: the dataclasses of the core as they are, decimals as plain digits in text.

One encoder for REST and stream, so that both say the same. What is missing is null.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import msgspec

JSON = "application/json"
_ENCODER = msgspec.json.Encoder(decimal_format="string")
_MAYBE_EXPONENT = re.compile(rb'"-?\d+(?:\.\d+)?E[+-]\d+"')


def plain(value: object) -> Any:
    """Dictionaries, lists, texts, numbers; a decimal becomes its digits, never an exponent."""
    return _spelled(msgspec.to_builtins(value, builtin_types=(Decimal,)))


def encoded(value: object) -> bytes:
    """JSON."""
    quick = _ENCODER.encode(value)
    # Decimals that the encoder gave an exponent are spelled out; a text that only looks like one stays as it is.
    return _ENCODER.encode(plain(value)) if _MAYBE_EXPONENT.search(quick) else quick


def _spelled(value: Any) -> Any:
    kind = type(value)
    if kind is Decimal:
        return f"{value:f}"
    if kind is dict:
        return {name: _spelled(inner) for name, inner in value.items()}
    if kind is list or kind is tuple:
        return [_spelled(inner) for inner in value]
    return value
