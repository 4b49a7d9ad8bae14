"""Traces for OpenTelemetry: from the candle that was heard, by the decision, to what the venue answered and filled.

Rules. Off without `traces.otlp_url`. Spans are made of the journal by the supervisor, so that the trader does nothing
for them; what the journal held before is not told. They go as JSON by OTLP over HTTP, see
opentelemetry.io/docs/specs/otlp. A collector that is not there is asked again; of more than `WAITING_MAX` spans the
oldest are given up.

The id of a trace is made of the id that log lines have (`logs.Correlator`), so that one leads to the other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp

from surefoot import __version__
from surefoot.core.messages import (
    CandleClosed,
    Command,
    Event,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OutcomeUnknown,
    RecordDecision,
    ReplaceOrder,
    RunStarted,
    SubmitList,
    SubmitOrder,
)
from surefoot.core.model import Candle, OrderRequest
from surefoot.logs import Correlator
from surefoot.store.journal import JournalReader, StoreError, newest_seq

RECORDS = (
    RunStarted, CandleClosed, RecordDecision, SubmitOrder, SubmitList, ReplaceOrder, OrderAccepted, OrderRejected,
    OrderFilled, OrderExpired, OrderCanceled, OutcomeUnknown,
)  # fmt: skip
READ_EVERY_S = 2.0
PAUSE_MAX_S = 60.0
ANSWER_S = 5.0
BATCH = 512
WAITING_MAX = 20_000
UNANSWERED_MAX = 1_000
FILLS_REMEMBERED = 200
NS_PER_MS = 1_000_000
ERROR = 2  # of a span's status

Span = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Sent:
    """An order on its way."""

    trace: str
    request: OrderRequest
    at_ms: int


class SpanMaker:
    """Makes spans of records; give it all of `RECORDS` in their order."""

    def __init__(self) -> None:
        self._correlator = Correlator()
        self._candles: dict[str, Candle] = {}
        self._sent: dict[str, _Sent] = {}
        # Fills come by the answer and by the stream.
        self._told: deque[tuple[str, int]] = deque(maxlen=FILLS_REMEMBERED)

    def take(self, record: Event | Command) -> Iterator[Span]:
        """The spans that end with a record."""
        trace = self._correlator.of(record)
        match record:
            case CandleClosed(candle=candle):
                self._candles[candle.symbol] = candle
            case _ if trace is None:
                return
            case RecordDecision() if record.outcome != "none":
                yield self._decision(trace, record)
            case SubmitOrder(at_ms=at_ms, order=order) | ReplaceOrder(at_ms=at_ms, order=order):
                self._send(trace, order, at_ms)
            case SubmitList(at_ms=at_ms, orders=orders):
                for order in orders:
                    self._send(trace, order, at_ms)
            case OrderFilled(at_ms=at_ms, fill=fill) if (fill.symbol, fill.trade_id) not in self._told:
                self._told.append((fill.symbol, fill.trade_id))
                yield from self._answered(fill.client_order_id, at_ms, "")
                about = {
                    "order": fill.client_order_id, "symbol": fill.symbol, "trade_id": fill.trade_id,
                    "price": fill.price, "quantity": fill.quantity, "fee": fill.fee, "fee_asset": fill.fee_asset,
                }  # fmt: skip
                start_ms = min(fill.at_ms, at_ms)
                name = f"fill {fill.trade_id}"
                yield _span(trace, name, fill.client_order_id, f"fill {fill.symbol}", start_ms, at_ms, about)
            case OrderRejected() | OutcomeUnknown():
                yield from self._answered(record.client_order_id, record.at_ms, record.text)
            case OrderAccepted() | OrderExpired() | OrderCanceled():
                yield from self._answered(record.client_order_id, record.at_ms, "")

    def _decision(self, trace: str, record: RecordDecision) -> Span:
        signal = record.signal
        candle = self._candles[signal.symbol]
        about = {
            "symbol": signal.symbol, "interval": candle.interval, "rule": signal.rule, "target": signal.target,
            "score": signal.score, "outcome": record.outcome, "detail": record.detail,
        }  # fmt: skip
        name = f"decide {signal.symbol} {candle.interval}"
        return _span(trace, "decision", None, name, min(candle.close_ms + 1, record.at_ms), record.at_ms, about)

    def _send(self, trace: str, order: OrderRequest, at_ms: int) -> None:
        self._sent[order.client_order_id] = _Sent(trace, order, at_ms)
        while len(self._sent) > UNANSWERED_MAX:
            del self._sent[next(iter(self._sent))]

    def _answered(self, client_order_id: str, at_ms: int, problem: str) -> Iterator[Span]:
        """The span of an order, the first time that something is known of it."""
        sent = self._sent.pop(client_order_id, None)
        if sent is None:
            return
        order = sent.request
        about = {
            "order": order.client_order_id, "symbol": order.symbol, "side": order.side, "type": order.type,
            "purpose": order.purpose, "quantity": order.quantity, "price": order.price, "stop_price": order.stop_price,
        }  # fmt: skip
        name = f"order {order.purpose} {order.symbol}"
        yield _span(sent.trace, client_order_id, "decision", name, sent.at_ms, at_ms, about, problem)


def _span(
    trace: str, place: str, parent: str | None, name: str, start_ms: int, end_ms: int, about: Mapping[str, object],
    problem: str = "",
) -> Span:  # fmt: skip
    return {
        "traceId": sha256(trace.encode()).hexdigest()[:32],
        "spanId": _span_id(trace, place),
        **({} if parent is None else {"parentSpanId": _span_id(trace, parent)}),
        "name": name,
        "kind": 1 if parent is None else 3,  # internal, client
        "startTimeUnixNano": str(start_ms * NS_PER_MS),
        "endTimeUnixNano": str(end_ms * NS_PER_MS),
        "attributes": [_attribute("surefoot.trace", trace), *_attributes(about)],
        "status": {"code": ERROR, "message": problem} if problem else {},
    }


def _span_id(trace: str, place: str) -> str:
    return sha256(f"{trace} {place}".encode()).hexdigest()[:16]


def _attributes(about: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    """What is missing is left out; a decimal is a text, so that it stays exact."""
    return (_attribute(f"surefoot.{name}", value) for name, value in about.items() if value not in (None, ""))


def _attribute(key: str, value: object) -> dict[str, Any]:
    kind = {int: "intValue", float: "doubleValue"}.get(type(value), "stringValue")
    return {"key": key, "value": {kind: value if kind == "doubleValue" else str(value)}}


class SpanSender:
    """Reads a journal and sends spans of what is new in it."""

    def __init__(self, url: str, mode: str, journal: Path, note: Callable[[str], None]) -> None:
        self._url = url
        about = {"service.name": "surefoot", "service.version": __version__, "deployment.environment.name": mode}
        self._resource = {"attributes": [_attribute(key, value) for key, value in about.items()]}
        self._journal = journal
        self._note = note
        self._maker = SpanMaker()
        self._waiting: deque[Span] = deque(maxlen=WAITING_MAX)
        self._seen_seq = newest_seq(journal)
        self._was_there = True

    async def run(self) -> None:
        """Until it is cancelled; then what is left is sent, if it is taken at once."""
        pause_s = READ_EVERY_S
        sending: asyncio.Task[bool] | None = None
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as session:
            try:
                while True:
                    self._read()
                    sending = asyncio.create_task(self._send(session))
                    pause_s = READ_EVERY_S if await asyncio.shield(sending) else min(2 * pause_s, PAUSE_MAX_S)
                    await asyncio.sleep(pause_s)
            finally:
                # What is on its way would be sent twice if it were cut off; where that is not taken, nothing is.
                if sending is None or sending.done() or await sending:
                    self._read()
                    await self._send(session)

    def _read(self) -> None:
        # There may be no journal yet, and one that is just being made cannot be read.
        with suppress(StoreError), JournalReader(self._journal) as reader:
            for entry in reader.read(kinds=RECORDS, since_seq=self._seen_seq):
                self._seen_seq = entry.seq
                self._waiting.extend(self._maker.take(entry.message))

    async def _send(self, session: aiohttp.ClientSession) -> bool:
        """Whether the collector took all that waits."""
        while self._waiting:
            batch = [self._waiting[at] for at in range(min(BATCH, len(self._waiting)))]
            scope = {"name": "surefoot", "version": __version__}
            body = {"resourceSpans": [{"resource": self._resource, "scopeSpans": [{"scope": scope, "spans": batch}]}]}
            problem = await self._post(session, body)
            if problem:
                if self._was_there:
                    self._note(f"traces: {self._url} does not take them ({problem}); it is asked again")
                self._was_there = False
                return False
            self._was_there = True
            for _ in batch:
                self._waiting.popleft()
        return True

    async def _post(self, session: aiohttp.ClientSession, body: Mapping[str, Any]) -> str:
        """Why they were not taken; empty when they were."""
        try:
            async with session.post(self._url, json=body) as answer:
                return "" if answer.status < 300 else f"HTTP {answer.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            return str(problem) or type(problem).__name__
