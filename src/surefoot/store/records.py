"""Messages as JSON text and back, for the journal, and the digest that says whether two runs did the same.

The kind of a record is the name of its message's class, so classes of the two unions are never renamed without a
migration. Decimals are JSON strings with all their digits. There is one decoder for each class, made from the unions
themselves: a new message cannot be forgotten here.
"""

from __future__ import annotations

import hashlib
import re
from math import isfinite
from typing import Any, Literal, get_args

import msgspec

from surefoot.core.messages import Command, Event, RecordDecision, RunStarted
from surefoot.core.model import Signal

Message = Event | Command
Edge = Literal["event", "command"]

_ENCODER = msgspec.json.Encoder()
_EVENT_CLASSES: tuple[type[Any], ...] = get_args(Event)
_COMMAND_CLASSES: tuple[type[Any], ...] = get_args(Command)
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    cls.__name__: msgspec.json.Decoder(cls) for cls in _EVENT_CLASSES + _COMMAND_CLASSES
}
_EDGES: dict[str, Edge] = {
    **dict.fromkeys((cls.__name__ for cls in _EVENT_CLASSES), "event"),
    **dict.fromkeys((cls.__name__ for cls in _COMMAND_CLASSES), "command"),
}

KINDS = frozenset(_DECODERS)

_SILENT = (
    b',"reason":""', b',"realised":null', b',"taken":0', b',"again_ms":null', b',"in_question":[]',
    b',"mark_price":null', b',"unlike":[]', b',"off":[]',
)  # fmt: skip

# "sf-<run>-<counter><role>": everything up to the last hyphen names the run.
_RUN_OF_AN_ID = re.compile(rb"sf-[0-9A-Za-z_-]*-")


class RecordError(ValueError):
    """A message that cannot be written down exactly, or a record that cannot be read."""


def edge_of(kind: str) -> Edge:
    """Whether messages of this kind come in or go out."""
    try:
        return _EDGES[kind]
    except KeyError:
        raise RecordError(_unknown(kind)) from None


def encode(message: Message) -> tuple[str, bytes]:
    """The kind and the JSON text of a message.

    Raises RecordError for a float that is not finite: JSON has no word for it, so it would come back as "no value".
    """
    kind = type(message).__name__
    if kind not in _DECODERS:
        raise RecordError(_unknown(kind))
    if isinstance(message, RecordDecision):
        _check_finite(message.signal)
    return kind, _ENCODER.encode(message)


def decode(kind: str, body: bytes | str) -> Message:
    """The message of a record. Raises RecordError for an unknown kind and for a body that does not fit its class."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise RecordError(_unknown(kind))
    try:
        message: Message = decoder.decode(body)
    except msgspec.DecodeError as problem:
        raise RecordError(f"the body of a {kind} record cannot be read: {problem}") from problem
    return message


class RunDigest:
    """A fingerprint of what happened in a run: equal for equal messages, on any machine and under any run's name.

    Left out is what differs without meaning: the run's name (in RunStarted and in every client order id), the digest
    of settings (it covers paths), the version, and the last bits of the floats that a signal saw.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def feed(self, message: Message) -> None:
        """Add one message; the order of feeding matters."""
        # A field that came later and says nothing is left out, so that a known run keeps its digest.
        body = _ENCODER.encode(_essence(message))
        for silent in _SILENT:
            body = body.replace(silent, b"")
        if b"sf-" in body:
            body = _RUN_OF_AN_ID.sub(b"", body)
        # Each part ends with a byte that JSON never contains, so that no two sequences of messages look alike.
        self._hash.update(b"%b\0%b\0" % (type(message).__name__.encode(), body))

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _essence(message: Message) -> object:
    if isinstance(message, RecordDecision):
        signal = message.signal
        return signal.symbol, message.at_ms, signal.target, signal.rule, message.outcome
    if isinstance(message, RunStarted):
        return message.at_ms, message.mode, message.symbols
    return message


def _check_finite(signal: Signal) -> None:
    target = 0.0 if signal.target is None else signal.target
    for name, value in (("target", target), ("score", signal.score), *signal.values):
        if not isfinite(value):
            raise RecordError(f"{name} of a {signal.symbol} signal is {value}: only finite numbers can be recorded")


def _unknown(kind: str) -> str:
    return f"unknown kind of record {kind!r}: this program knows {', '.join(sorted(_DECODERS))}"
