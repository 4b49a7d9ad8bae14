"""Logs: one line for what happened, as JSON or text on stderr, with an id that leads from a candle to its fills.

Rules. Nothing is logged on the way from a price to an order: the trader hands over what goes into its journal when
nothing waits, and a thread of its own makes lines of it. When that thread cannot keep up, or nobody reads, lines are
lost and counted; the trader waits for nobody. Secrets are struck out of the finished line, wherever in it they stand.

The id (`trace`) is the run, the symbol and the candle: RUN.SYMBOL.OPEN_MS. Of the candle it goes to the decision, from
there to the orders of an entry, and on to whatever protects or closes what they bought.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

import msgspec
import structlog

from surefoot.config import MASK, SECRETS, LogSettings
from surefoot.core.messages import (
    AccountSnapshot,
    AdoptRequested,
    BreakerResetRequested,
    CancelAllRequested,
    CancelOrder,
    CancelRefused,
    CandleClosed,
    CloseRequested,
    Command,
    Event,
    FlattenRequested,
    KillRequested,
    LinkLost,
    LinkRestored,
    LiveSwitched,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OutcomeUnknown,
    PauseRequested,
    QueryOrder,
    ReadFills,
    RecordAlarm,
    RecordBooks,
    RecordDecision,
    RecordPlan,
    RecordReset,
    RecordTrip,
    ReplaceOrder,
    ResumeRequested,
    RunStarted,
    SettingsChanged,
    StreamSilent,
    SubmitList,
    SubmitOrder,
    VenueLimited,
    VenueTraded,
)
from surefoot.core.model import Purpose
from surefoot.outlet import Outlet

Message = Event | Command

WAITING_MAX = 10_000
ORDERS_MAX = 2_000
STOP_WAIT_S = 2.0
SECRET_LENGTH_MIN = 6  # a shorter one would strike out half of every line
SECRET_WORDS = re.compile(
    r"secret|password|passphrase|token|(api|private|control)_?key|signature|authorization|cookie", re.IGNORECASE
)
# What is secret wherever it stands: what follows these words.
SECRET_ENDS = r"(?<=#link=)[^\s\"]+|(?<=signature=)[^&\s\"]+|(?<=Bearer )[^\s\"]+"

LEVELS: Mapping[type[Any], int] = {
    **dict.fromkeys((CandleClosed, QueryOrder, ReadFills, RecordPlan, AccountSnapshot, RecordBooks), logging.DEBUG),
    **dict.fromkeys((RunStarted, RecordDecision, SubmitOrder, SubmitList, ReplaceOrder, CancelOrder), logging.INFO),
    **dict.fromkeys((OrderAccepted, OrderFilled, OrderCanceled, OrderExpired), logging.INFO),
    **dict.fromkeys((LinkRestored, SettingsChanged, RecordReset, PauseRequested, ResumeRequested), logging.INFO),
    **dict.fromkeys((FlattenRequested, CloseRequested, CancelAllRequested, BreakerResetRequested), logging.INFO),
    **dict.fromkeys((OrderRejected, CancelRefused, OutcomeUnknown, OrderNotFound, OrderAmended), logging.WARNING),
    **dict.fromkeys((KillRequested, LiveSwitched, AdoptRequested), logging.WARNING),
    **dict.fromkeys((LinkLost, StreamSilent, VenueLimited, RecordAlarm), logging.WARNING),
    **dict.fromkeys((RecordTrip, VenueTraded), logging.ERROR),
}


# ---------------------------------------------------------------------------------------------------------------
# Secrets


def secrets_of(env: Mapping[str, str]) -> list[str]:
    """Everything in an environment that must not be shown: values of variables with such names, and of their files."""
    ours = [f"SUREFOOT_{name.upper()}" for name in SECRETS]
    found = [value for name, value in env.items() if SECRET_WORDS.search(name) or name in ours]
    for name in (f"{one}_FILE" for one in ours):
        try:
            found.append(Path(env[name]).read_text())
        except (KeyError, OSError, UnicodeDecodeError):
            continue
    return found


class Masker:
    """Strikes secrets out of text, also where they are escaped, quoted, or a line or an address of several."""

    def __init__(self, secrets: Iterable[str]) -> None:
        parts = {part for secret in secrets for part in (secret.strip(), *secret.split())}
        shapes = {shape for part in parts for shape in (part, json.dumps(part)[1:-1], quote(part, safe=""))}
        longest_first = sorted((one for one in shapes if len(one) >= SECRET_LENGTH_MIN), key=len, reverse=True)
        self._pattern = re.compile("|".join([*map(re.escape, longest_first), SECRET_ENDS]))

    def __call__(self, text: str) -> str:
        return self._pattern.sub(MASK, text)


def _mask_names(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Values whose name says that they are secret, at any depth."""
    return {name: MASK if SECRET_WORDS.search(str(name)) else _masked(value) for name, value in event.items()}


def _masked(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: MASK if SECRET_WORDS.search(str(name)) else _masked(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(inner) for inner in value]
    return value


# ---------------------------------------------------------------------------------------------------------------
# Lines


def begin(settings: LogSettings, process: str, env: Mapping[str, str], stream: TextIO | None = None) -> bool:
    """Let this process log, other people's modules included; whether it does. Call it before secrets are taken out of
    the environment."""
    if settings.level == "off":
        return False
    level, masker, out = logging.getLevelName(settings.level.upper()), Masker(secrets_of(env)), stream or sys.stderr
    render: Callable[..., Any] = _json if settings.format == "json" else _text

    def line(logger: object, name: str, event: structlog.typing.EventDict) -> str:
        return masker(render({"process": process, **event}))

    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
        _mask_names,
    ]
    structlog.configure(
        processors=[*shared, line],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    if isinstance(out, Outlet):
        out.lost_line = lambda count: line(None, "", _lost(count))
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, line], foreign_pre_chain=shared
        )
    )
    # What others say on lower levels is theirs, and may hold whole requests.
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    return True


def _lost(count: int) -> structlog.typing.EventDict:
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {"count": count, "event": "lines were lost", "level": "warning", "at": at}


def _json(event: Mapping[str, Any]) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def _text(event: Mapping[str, Any]) -> str:
    known = {"at", "level", "process", "event"}
    rest = " ".join(f"{name}={_shown(value)}" for name, value in event.items() if name not in known)
    return f"{event['at']} [{event['level']}] {event['process']}: {event['event']} {rest}".rstrip()


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else _json({"": value})[4:-1]
    return json.dumps(text, ensure_ascii=False) if not text or any(c in text for c in ' \n\t"') else text


def write(level: int, event: str, **values: object) -> None:
    """One line, where `begin` was called."""
    structlog.get_logger().log(level, event, **values)


# ---------------------------------------------------------------------------------------------------------------
# What the trader did


class Correlator:
    """Follows what comes from a candle; give it every record in order."""

    def __init__(self) -> None:
        self._run = ""
        self._candles: dict[str, str] = {}  # the newest of each symbol
        self._entries: dict[str, str] = {}  # the one that the newest entry of a symbol came from
        self._orders: dict[str, str] = {}

    def of(self, record: Message) -> str | None:
        """The id of what it came from; None where that is no candle."""
        match record:
            case RunStarted():
                self._run = record.run
            case CandleClosed(candle=candle):
                self._candles[candle.symbol] = f"{self._run}.{candle.symbol}.{candle.open_ms}"
                return self._candles[candle.symbol]
            case RecordDecision(signal=signal):
                return self._candles.get(signal.symbol)
            case RecordPlan(symbol=symbol):
                return self._candles.get(symbol)
            case SubmitOrder(order=order):
                return self._submitted([order.client_order_id], order.symbol, order.purpose is Purpose.ENTRY)
            case SubmitList(orders=orders):
                names = [order.client_order_id for order in orders]
                entry = any(order.purpose is Purpose.ENTRY for order in orders)
                return self._submitted([*names, record.list_id], orders[0].symbol, entry)
            case ReplaceOrder(order=order):
                return self._submitted([order.client_order_id], order.symbol, False)
            case OrderFilled(fill=fill):
                return self._orders.get(fill.client_order_id)
            case _:
                return self._orders.get(getattr(record, "client_order_id", ""))
        return None

    def _submitted(self, names: Sequence[str], symbol: str, is_entry: bool) -> str | None:
        trace = self._candles.get(symbol) if is_entry else self._entries.get(symbol, self._candles.get(symbol))
        if trace is None:
            return None
        if is_entry:
            self._entries[symbol] = trace
        self._orders.update(dict.fromkeys(names, trace))
        while len(self._orders) > ORDERS_MAX:
            del self._orders[next(iter(self._orders))]
        return trace


class TraderLog:
    """Makes lines of records in a thread of its own, see the module's rules."""

    def __init__(self) -> None:
        self._correlator = Correlator()
        self._waiting: deque[Message] = deque(maxlen=WAITING_MAX)
        self._noted = 0
        self._written = 0
        self._wanted = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="log")

    def learn(self, record: Message) -> None:
        """A record from before this process: it is not logged, but others may have come from it."""
        self._correlator.of(record)

    def start(self) -> None:
        self._thread.start()

    def note(self, *records: Message) -> None:
        """Keep them for the log; costs as much as to append to a list."""
        for record in records:
            if type(record) in LEVELS:
                self._waiting.append(record)
                self._noted += 1

    def wake(self) -> None:
        """Nothing waits for the trader: lines may be made."""
        if self._waiting:
            self._wanted.set()

    def close(self) -> None:
        """Write what is left, for as long as that is quick."""
        self._ending = True
        self._wanted.set()
        self._thread.join(STOP_WAIT_S)

    def _run(self) -> None:
        while not self._ending or self._waiting:
            self._wanted.wait()
            self._wanted.clear()
            while self._waiting:
                self._write(self._waiting.popleft())

    def _write(self, record: Message) -> None:
        self._written += 1
        lost = self._noted - self._written - len(self._waiting)
        if lost > 0:
            self._written += lost
            write(logging.WARNING, "lines were lost", count=lost)
        body = msgspec.to_builtins(record)
        trace = self._correlator.of(record)
        given = {"trace": trace} if trace is not None else {}
        write(LEVELS[type(record)], type(record).__name__, **given, **{_named(k): v for k, v in body.items()})


def _named(name: str) -> str:
    """A field's name in a line: three are taken."""
    return f"{name}_" if name in ("event", "level", "at") else name
