"""Bytes to messages and back for Binance spot: the venue's words end here.

Rules: no clock, no network, no state. Amounts are exact decimals made from their text. What cannot be read raises
`BadFrame`, a price that cannot be raises `BadPrice` (a `BadFrame` too), and nothing else is raised for what came from
outside. A number that is missing stays missing (`None`); zero is never put in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Literal

from msgspec import UNSET, Raw
from msgspec.structs import astuple

from surefoot.binance import wire
from surefoot.binance.numbers import EXPONENT_MAX, amount_of, check_amounts, decode, price_of
from surefoot.binance.signing import book_stream as book_stream
from surefoot.binance.signing import decimal_text as decimal_text
from surefoot.binance.signing import kline_stream as kline_stream
from surefoot.binance.signing import list_request as list_request
from surefoot.binance.signing import mark_price_stream as mark_price_stream
from surefoot.binance.signing import order_params as order_params
from surefoot.binance.signing import query_text as query_text
from surefoot.binance.signing import sign_rest as sign_rest
from surefoot.binance.signing import sign_ws as sign_ws
from surefoot.binance.signing import subscribe_text as subscribe_text
from surefoot.binance.signing import unsubscribe_text as unsubscribe_text
from surefoot.binance.signing import ws_request_text as ws_request_text
from surefoot.binance.wire import AccountEvent as AccountEvent
from surefoot.binance.wire import AccountPosition as AccountPosition
from surefoot.binance.wire import BadFrame as BadFrame
from surefoot.binance.wire import BadPrice as BadPrice
from surefoot.binance.wire import BalanceUpdate as BalanceUpdate
from surefoot.binance.wire import BookFrame as BookFrame
from surefoot.binance.wire import ExecutionReport as ExecutionReport
from surefoot.binance.wire import Ignored as Ignored
from surefoot.binance.wire import KlineFrame as KlineFrame
from surefoot.binance.wire import ListStatus as ListStatus
from surefoot.binance.wire import MarkPriceFrame as MarkPriceFrame
from surefoot.binance.wire import RateLimit as RateLimit
from surefoot.binance.wire import Shutdown as Shutdown
from surefoot.binance.wire import StreamReply as StreamReply
from surefoot.binance.wire import StreamTerminated as StreamTerminated
from surefoot.binance.wire import VenueError as VenueError
from surefoot.binance.wire import WsReply as WsReply
from surefoot.core.messages import (
    CancelRefused,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    ReplaceOrder,
)
from surefoot.core.model import ZERO, Balance, Candle, FeeRates, Fill, Instrument, Side, VenueOrder

# `busy`: the venue had no time to look at it, and did nothing.
Outcome = Literal["refused", "unknown", "busy", "limited", "banned"]


# ---------------------------------------------------------------------------------------------------------------
# Market frames


MarketFrame = KlineFrame | BookFrame | MarkPriceFrame | StreamReply | Shutdown | Ignored


def read_stream(frame: bytes | str) -> MarketFrame:
    """One frame of a combined market stream. BadFrame when it cannot be read, BadPrice when its price cannot be."""
    envelope = decode(wire.STREAM_ENVELOPE, frame, "stream frame")
    if envelope.stream is None:
        return _read_unwrapped(envelope)
    content = envelope.stream.partition("@")[2]
    if content == "bookTicker":
        return _book_frame(decode(wire.BOOK, envelope.data, envelope.stream))
    # A second "@" is a kline with shifted days: nothing we subscribe.
    if content.startswith("kline_") and "@" not in content:
        return _kline_frame(decode(wire.KLINE_EVENT, envelope.data, envelope.stream))
    if content.startswith("markPrice"):
        mark = decode(wire.MARK_PRICE, envelope.data, envelope.stream)
        return MarkPriceFrame(mark.s, price_of(mark.p, mark.s, "mark price"), mark.E)
    if envelope.stream == "!serverShutdown":
        return decode(wire.SHUTDOWN, envelope.data, envelope.stream)
    return Ignored(envelope.stream)


def _read_unwrapped(envelope: wire.StreamEnvelope) -> StreamReply | Shutdown:
    if envelope.error is not None:
        return StreamReply(_reply_id(envelope), f"{envelope.error.code} {envelope.error.msg}")
    if envelope.code is not None:
        return StreamReply(_reply_id(envelope), f"{envelope.code} {envelope.msg}")
    if envelope.id is not UNSET:
        return StreamReply(envelope.id, None)
    if envelope.e == "serverShutdown":
        return Shutdown(envelope.E)
    raise BadFrame("stream frame: neither stream data nor an answer")


def _reply_id(envelope: wire.StreamEnvelope) -> int | str | None:
    return None if envelope.id is UNSET else envelope.id


def _book_frame(book: wire.Book) -> BookFrame:
    bid, ask = price_of(book.b, book.s, "bid"), price_of(book.a, book.s, "ask")
    if bid > ask:
        raise BadPrice(f"{book.s}: bid {bid} is above ask {ask}")
    return BookFrame(book.s, bid, ask, book.E)


def _kline_frame(event: wire.KlineEvent) -> KlineFrame:
    k = event.k
    return KlineFrame(event.E, k.x, _candle(k.s, k.i, (k.t, k.T), (k.o, k.h, k.l, k.c), k.v))


def _candle(
    symbol: str, interval: str, times: tuple[int, int], prices: tuple[str, str, str, str], volume: str
) -> Candle:
    open, high, low, close = (price_of(text, symbol, "candle price") for text in prices)
    if not low <= min(open, close) <= max(open, close) <= high:
        raise BadPrice(f"{symbol}: impossible candle, open {open} high {high} low {low} close {close}")
    if not 0 <= times[0] < times[1]:
        raise BadPrice(f"{symbol}: impossible candle, from {times[0]} to {times[1]}")
    return Candle(symbol, interval, *times, open, high, low, close, amount_of(volume, symbol, "volume"))


# ---------------------------------------------------------------------------------------------------------------
# Account frames (WebSocket API). An amount that cannot be is a BadFrame here: it calls for a look at the whole account.


def read_account_frame(frame: bytes | str) -> WsReply | AccountEvent:
    """One frame of a WebSocket API connection: the answer to a request, or an event of the account."""
    envelope = decode(wire.ACCOUNT_ENVELOPE, frame, "account frame")
    if len(envelope.event):
        return _read_event(envelope.event)
    if envelope.status is None:
        raise BadFrame("account frame: neither an event nor an answer")
    return _ws_reply(envelope, envelope.status)


def _ws_reply(envelope: wire.AccountEnvelope, status: int) -> WsReply:
    headers = {
        f"x-mbx-{_COUNT_HEADERS[count.rate_limit_type]}-{count.interval_num}{count.interval[0].lower()}": str(
            count.count
        )
        for count in envelope.rate_limits
        if count.rate_limit_type in _COUNT_HEADERS
    }
    if bytes(envelope.error) not in (b"", b"null"):
        refusal = decode(wire.REFUSAL, envelope.error, "error of an answer")
        retry_after_s = _retry_after_s(refusal.data)
        if retry_after_s is not None:
            headers["retry-after"] = str(retry_after_s)
        return WsReply(envelope.id, status, VenueError(refusal.code, refusal.msg), bytes(envelope.error), headers)
    # A refusal stays one, even when it gives no reason.
    unexplained = VenueError(None, f"status {status} without a reason") if status >= 400 else None
    return WsReply(envelope.id, status, unexplained, bytes(envelope.result), headers)


_COUNT_HEADERS = {"REQUEST_WEIGHT": "used-weight", "ORDERS": "order-count"}


def _retry_after_s(data: Raw) -> int | None:
    # Only refusals for haste carry a time; the data of other refusals has other shapes.
    try:
        retry = wire.RETRY.decode(data)
    except ValueError:
        return None
    return max(0, -((retry.server_time - retry.retry_after) // 1_000))


def _read_event(event: Raw) -> AccountEvent:
    kind = decode(wire.KIND, event, "account event").e
    read = _event_readers.get(kind)
    return Ignored(kind) if read is None else read(event)


def _read_execution_report(event: Raw) -> ExecutionReport:
    report = decode(wire.EXECUTION_REPORT, event, "executionReport")
    check_amounts(report.quantity, report.executed, report.last_quantity, report.last_price, report.fee)
    if report.execution == "TRADE":
        sound_fill(_reported_fill(report, report.client_order_id))
    return report


def _read_position(event: Raw) -> AccountPosition:
    position = decode(wire.POSITION, event, "outboundAccountPosition")
    return AccountPosition(tuple(_balance(held.a, held.f, held.l) for held in position.B), position.u)


def _read_balance_update(event: Raw) -> BalanceUpdate:
    update = decode(wire.BALANCE_UPDATE, event, "balanceUpdate")
    check_amounts(update.delta)
    return update


_event_readers: dict[str, Callable[[Raw], AccountEvent]] = {
    "executionReport": _read_execution_report,
    "outboundAccountPosition": _read_position,
    "balanceUpdate": _read_balance_update,
    "listStatus": lambda event: decode(wire.LIST_STATUS, event, "listStatus"),
    "eventStreamTerminated": lambda event: decode(wire.STREAM_TERMINATED, event, "eventStreamTerminated"),
    "serverShutdown": lambda event: decode(wire.SHUTDOWN, event, "serverShutdown"),
}


def order_events(report: ExecutionReport, at_ms: int) -> tuple[OrderEvent, ...]:
    """What a report means to the core; nothing for a prevented match that the order survived.

    Raises nothing: `read_account_frame` lets no impossible report through.
    """
    client_order_id = report.original_client_order_id or report.client_order_id
    match report.execution:
        case "NEW":
            quantity = _order_quantity(report.status, report.quantity)
            resting = report.status != "PENDING_NEW"
            return (OrderAccepted(at_ms, client_order_id, report.order_id, resting, quantity, report.executed),)
        case "TRADE":
            quantity = _order_quantity(report.status, report.quantity)
            return (OrderFilled(at_ms, _reported_fill(report, client_order_id), report.order_id, quantity),)
        case "REJECTED":
            return (OrderRejected(at_ms, client_order_id, None, report.reject_reason),)
        case "REPLACED" if report.quantity > 0:
            return (OrderAmended(at_ms, client_order_id, report.client_order_id, report.quantity),)
        case _:
            return ending(at_ms, client_order_id, report.status, report.executed, report.expiry_reason)


def _reported_fill(report: ExecutionReport, client_order_id: str) -> Fill:
    return Fill(
        client_order_id=client_order_id,
        symbol=report.symbol,
        trade_id=report.trade_id,
        side=report.side,
        price=report.last_price,
        quantity=report.last_quantity,
        fee=report.fee,
        fee_asset=report.fee_asset or "",
        maker=report.maker,
        at_ms=report.trade_ms,
    )


def sound_fill(fill: Fill) -> Fill:
    """The fill itself, unless nobody could have traded so."""
    check_amounts(fill.price, fill.quantity, fill.fee)
    if fill.price <= 0 or fill.quantity <= 0 or fill.trade_id < 0:
        raise BadFrame(f"fill {fill.trade_id} of {fill.symbol}: {fill.quantity} at {fill.price}")
    if fill.fee and not fill.fee_asset:
        raise BadFrame(f"fill {fill.trade_id} of {fill.symbol}: a fee of {fill.fee} in no asset")
    return fill


def ending(
    at_ms: int, client_order_id: str, status: str | None, executed: Decimal | None, reason: str | None
) -> tuple[OrderEvent, ...]:
    """How an order of this status ended; nothing while it lives, and nothing when it ended by its fills."""
    if status == "CANCELED":
        return (OrderCanceled(at_ms, client_order_id, executed),)
    if status in ("EXPIRED", "EXPIRED_IN_MATCH"):
        told = reason if reason not in (None, "", "NONE") else status
        return (OrderExpired(at_ms, client_order_id, executed, told),)
    return ()


def _order_quantity(status: str | None, quantity: Decimal | None) -> Decimal | None:
    # The quantity of a leg that waits may still be decided by the venue, and 0 stands for an order by notional.
    return None if status == "PENDING_NEW" or not quantity else quantity


def _balance(asset: str, free: Decimal, locked: Decimal) -> Balance:
    check_amounts(free, locked)
    return Balance(asset, free, locked)


# ---------------------------------------------------------------------------------------------------------------
# REST answers (the results of the WebSocket API have the same shapes)

_OUTCOME_UNKNOWN_CODES = frozenset({-1000, -1001, -1006, -1007})
_LIMIT_KINDS = {
    "REQUEST_WEIGHT": "weight",
    "ORDERS": "orders",
    "RAW_REQUESTS": "requests",
    "CONNECTIONS": "connections",
}
_UNIT_MS = {"SECOND": 1_000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}
_OFF = wire.Filter("")


def read_error(status: int, body: bytes) -> VenueError:
    """What a refused REST call says. Whatever the body is (a firewall answers in HTML), this reads something."""
    try:
        refusal = decode(wire.REFUSAL, body, "error answer")
    except BadFrame:
        refusal = wire.Refusal()
    if refusal.code is None:
        return VenueError(None, f"HTTP {status}: {bytes(body[:200]).decode(errors='replace')}")
    return VenueError(refusal.code, refusal.msg)


def outcome(status: int, error: VenueError) -> Outcome:
    """What a failed order call means: the venue did not act, may have acted, or wants less (or nothing) from us.

    A 403 is the firewall in front of the venue: the order never came through, so it is refused (and someone must look).
    """
    if status == 418:
        return "banned"
    if status == 429:
        return "limited"
    # A time-out (408), a half-done call (409) and a failing server leave it open; so does any status not documented.
    if status in (408, 409) or not 400 <= status < 500:
        return "unknown"
    if error.code in _OUTCOME_UNKNOWN_CODES or _is_duplicate(error):
        return "unknown"
    return "refused"


def _is_duplicate(error: VenueError) -> bool:
    # Our ids are unique, so a duplicate is our own earlier sending: it arrived, and a query tells what became of it.
    return error.code == -2010 and error.text.startswith("Duplicate order sent")


def read_time(body: bytes) -> int:
    """The venue's clock in UTC ms."""
    return decode(wire.TIME, body, "time").server_time


def read_rate_limits(body: bytes) -> tuple[RateLimit, ...]:
    """The limits in exchangeInfo; a kind that we do not know is left out."""
    rows = decode(wire.LIMITS, body, "exchangeInfo").rate_limits
    return tuple(
        RateLimit(_LIMIT_KINDS[row.rate_limit_type], row.interval_num * _UNIT_MS[row.interval], row.limit)
        for row in rows
        if row.rate_limit_type in _LIMIT_KINDS
    )


def read_instruments(body: bytes) -> tuple[Instrument, ...]:
    """Every symbol in exchangeInfo with its filters; a filter that is missing is off (0)."""
    return tuple(_instrument(symbol) for symbol in decode(wire.SYMBOLS, body, "exchangeInfo").symbols)


def _instrument(symbol: wire.Symbol) -> Instrument:
    filters = {each.filter_type: each for each in symbol.filters}
    for each in symbol.filters:
        check_amounts(*(value for value in astuple(each) if isinstance(value, Decimal)))
    price = filters.get("PRICE_FILTER", _OFF)
    lot = filters.get("LOT_SIZE", _OFF)
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL", _OFF)
    bid_down, bid_up, ask_down, ask_up = _price_band(filters)
    return Instrument(
        symbol=symbol.symbol,
        base=symbol.base_asset,
        quote=symbol.quote_asset,
        trading=symbol.status == "TRADING" and symbol.is_spot_trading_allowed,
        tick_size=step_of(price.tick_size, symbol.quote_asset_precision),
        price_min=price.min_price,
        price_max=price.max_price,
        lot_size=step_of(lot.step_size, symbol.base_asset_precision),
        quantity_min=lot.min_qty,
        quantity_max=lot.max_qty,
        market_quantity_max=filters.get("MARKET_LOT_SIZE", _OFF).max_qty,
        notional_min=notional.min_notional,
        notional_max=notional.max_notional,
        bid_multiplier_down=bid_down,
        bid_multiplier_up=bid_up,
        ask_multiplier_down=ask_down,
        ask_multiplier_up=ask_up,
        orders_max=filters.get("MAX_NUM_ORDERS", _OFF).max_num_orders,
        order_types=symbol.order_types,
        oco_allowed=symbol.oco_allowed,
        oto_allowed=symbol.oto_allowed,
        opo_allowed=symbol.opo_allowed,
    )


def step_of(step: Decimal, precision: int) -> Decimal:
    """The step of prices or quantities, or what the decimals of the asset leave of one."""
    # Without a step of its own a symbol is still bound to the asset's decimals (-1111).
    if not 0 <= precision <= EXPONENT_MAX:
        raise BadFrame(f"exchangeInfo: no asset has {precision} decimals")
    # Without zeros at its end, so that rounded prices and quantities read as a person would write them.
    return step.normalize() if step else Decimal(1).scaleb(-precision)


def _price_band(filters: dict[str, wire.Filter]) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    by_side = filters.get("PERCENT_PRICE_BY_SIDE")
    if by_side is not None:
        bid = by_side.bid_multiplier_down, by_side.bid_multiplier_up
        return *bid, by_side.ask_multiplier_down, by_side.ask_multiplier_up
    both = filters.get("PERCENT_PRICE", _OFF)
    return both.multiplier_down, both.multiplier_up, both.multiplier_down, both.multiplier_up


def read_fee_rates(body: bytes) -> tuple[str, FeeRates]:
    """A symbol and what a fill on it costs: maker or taker plus the dearer of buyer and seller, over all three blocks.

    One rate must serve both sides, so it is the dearer one. The discount for paying in another asset is left out: its
    meaning is ambiguous in the documentation, and a fee that is too high plans a little too small, never too large.
    """
    answer = decode(wire.COMMISSIONS, body, "commission")
    blocks = [each for each in (answer.standard_commission, answer.tax_commission, answer.special_commission) if each]
    _check_rates(rate for block in blocks for rate in astuple(block))
    side = max(sum((each.buyer for each in blocks), ZERO), sum((each.seller for each in blocks), ZERO))
    maker, taker = sum((each.maker for each in blocks), side), sum((each.taker for each in blocks), side)
    return answer.symbol, FeeRates(maker, taker)


def _check_rates(rates: Iterable[Decimal]) -> None:
    for rate in rates:
        if not (rate.is_finite() and 0 <= rate < 1):
            raise BadFrame(f"commission: {rate} is not a share")


def read_klines(body: bytes, symbol: str, interval: str) -> tuple[Candle, ...]:
    """Every row, oldest first, the last one usually still running. BadPrice when one of them cannot be."""
    return tuple(
        _candle(symbol, interval, (row.open_ms, row.close_ms), (row.open, row.high, row.low, row.close), row.volume)
        for row in decode(wire.KLINE_ROWS, body, "klines")
    )


def read_account(body: bytes) -> tuple[tuple[Balance, ...], bool]:
    """All balances, and whether the account may trade."""
    account = decode(wire.ACCOUNT, body, "account")
    return tuple(_balance(row.asset, row.free, row.locked) for row in account.balances), account.can_trade


def read_open_orders(body: bytes) -> tuple[VenueOrder, ...]:
    return tuple(_venue_order(row) for row in decode(wire.OPEN_ORDERS, body, "open orders"))


def _venue_order(row: wire.OpenOrder) -> VenueOrder:
    check_amounts(row.orig_qty, row.executed_qty, row.price, row.stop_price)
    return VenueOrder(
        client_order_id=row.client_order_id,
        order_id=row.order_id,
        symbol=row.symbol,
        side=row.side,
        type=row.type,
        quantity=row.orig_qty,
        executed=row.executed_qty,
        price=row.price,
        stop_price=row.stop_price,
        resting=row.status != "PENDING_NEW",
    )


def read_order(body: bytes, at_ms: int) -> tuple[OrderEvent, ...]:
    """An order as placed or queried: accepted first (unless rejected), then its fills if told, then its end if any."""
    return _order_report_events(decode(wire.ORDER_REPORT, body, "order"), at_ms)


def read_list(body: bytes, at_ms: int) -> tuple[OrderEvent, ...]:
    """The orders of a placed list, each as `read_order` reads it."""
    reports = decode(wire.LIST_REPORT, body, "order list").order_reports
    if reports is None:
        raise BadFrame("order list: no reports of its orders")
    return tuple(event for report in reports for event in _order_report_events(report, at_ms))


def read_cancel(body: bytes, at_ms: int) -> tuple[OrderEvent, ...]:
    """How a cancelled order ended, or every order of the list that went with it."""
    reports = decode(wire.LIST_REPORT, body, "cancel").order_reports
    if reports is None:
        reports = (decode(wire.ORDER_REPORT, body, "cancel"),)
    return tuple(event for report in reports for event in _cancel_report_events(report, at_ms))


def read_replace(body: bytes, at_ms: int) -> tuple[OrderEvent, ...]:
    """A cancel-replace that succeeded: how the old order ended, its list with it, then the new one as placed."""
    done = decode(wire.REPLACED, body, "cancel-replace")
    if wire.NULL in (done.cancel_response, done.new_order_response):
        raise BadFrame("cancel-replace: one of its answers is missing")
    return (*read_cancel(bytes(done.cancel_response), at_ms), *read_order(bytes(done.new_order_response), at_ms))


def read_replace_failure(body: bytes, command: ReplaceOrder, at_ms: int) -> tuple[OrderEvent, ...]:
    """A cancel-replace that failed, wholly or in part: what became of each half."""
    done = decode(wire.REPLACE_FAILURE, body, "cancel-replace").data
    if done.cancel_response == wire.NULL:
        raise BadFrame("cancel-replace: it does not say what became of the cancel")
    events: tuple[OrderEvent, ...]
    if done.cancel_result == "SUCCESS":
        events = read_cancel(bytes(done.cancel_response), at_ms)
    else:
        refusal = decode(wire.REFUSAL, bytes(done.cancel_response), "cancel-replace")
        events = (CancelRefused(at_ms, command.cancel_id, refusal.code, refusal.msg),)
    new_id = command.order.client_order_id
    if done.new_order_response == wire.NULL:
        return (*events, OrderRejected(at_ms, new_id, None, "not sent on: the order before it was not cancelled"))
    if done.new_order_result == "SUCCESS":
        return (*events, *read_order(bytes(done.new_order_response), at_ms))
    refusal = decode(wire.REFUSAL, bytes(done.new_order_response), "cancel-replace")
    return (*events, OrderRejected(at_ms, new_id, refusal.code, refusal.msg))


def _cancel_report_events(report: wire.OrderReport, at_ms: int) -> tuple[OrderEvent, ...]:
    check_amounts(report.executed_qty)
    ended = ending(at_ms, _report_id(report), report.status, report.executed_qty, report.expiry_reason)
    # An order that did not end tells at least how much of it has filled.
    return ended or _order_report_events(report, at_ms)


def _order_report_events(report: wire.OrderReport, at_ms: int) -> tuple[OrderEvent, ...]:
    check_amounts(report.orig_qty, report.executed_qty)
    client_order_id = _report_id(report)
    if report.status == "REJECTED":
        return (OrderRejected(at_ms, client_order_id, None, report.expiry_reason or "REJECTED"),)
    quantity = _order_quantity(report.status, report.orig_qty)
    resting = report.status != "PENDING_NEW"
    accepted = OrderAccepted(at_ms, client_order_id, report.order_id, resting, quantity, report.executed_qty)
    fills = (OrderFilled(at_ms, _part_fill(report, part), report.order_id, quantity) for part in report.fills)
    return (
        accepted,
        *fills,
        *ending(at_ms, client_order_id, report.status, report.executed_qty, report.expiry_reason),
    )


def _report_id(report: wire.OrderReport) -> str:
    # After a cancel `clientOrderId` is the name of the cancel.
    return report.orig_client_order_id or report.client_order_id


def _part_fill(report: wire.OrderReport, part: wire.FillPart) -> Fill:
    if report.side is None or report.transact_time is None:
        raise BadFrame(f"order {report.order_id}: fills without side or time")
    return sound_fill(
        Fill(
            client_order_id=_report_id(report),
            symbol=report.symbol,
            trade_id=part.trade_id,
            side=report.side,
            price=part.price,
            quantity=part.qty,
            fee=part.commission,
            fee_asset=part.commission_asset,
            # What fills in the answer to a placement met orders that were already there.
            maker=False,
            at_ms=report.transact_time,
        )
    )


def read_trades(body: bytes, client_order_id: str, at_ms: int) -> tuple[OrderFilled, ...]:
    """The fills of one order, asked for by its `orderId`; the rows do not carry our id, so it is given."""
    return tuple(
        OrderFilled(at_ms, _row_fill(row, client_order_id), row.order_id, None)
        for row in decode(wire.TRADE_ROWS, body, "trades")
    )


def _row_fill(row: wire.TradeRow, client_order_id: str) -> Fill:
    return sound_fill(
        Fill(
            client_order_id=client_order_id,
            symbol=row.symbol,
            trade_id=row.id,
            side=Side.BUY if row.is_buyer else Side.SELL,
            price=row.price,
            quantity=row.qty,
            fee=row.commission,
            fee_asset=row.commission_asset,
            maker=row.is_maker,
            at_ms=row.time,
        )
    )
