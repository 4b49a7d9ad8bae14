"""The local order book: held against the venue's own best prices in recorded streams, and a gap in it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from decimal import Decimal

import pytest

from surefoot.binance.orderbook import OrderBook
from surefoot.binance.quotes import Best, Depth, DepthChange, Level, read_depth, read_quote
from tests.payloads.reading import shared_file

D = Decimal


def recorded(market: str, symbol: str) -> Iterator[Depth | DepthChange | Best]:
    """Depth changes, best prices and the read depth of one recording, as they were received."""
    with gzip.open(shared_file(f"open/ticks/{market}/{symbol}_20240808.gz"), "rb") as lines:
        for line in lines:
            body = line.partition(b" ")[2]
            quote = read_depth(body) if body.startswith(b'{"lastUpdateId"') else read_quote(body)
            if isinstance(quote, Depth | DepthChange | Best):
                yield quote


@pytest.mark.spec("NET-1")
@pytest.mark.parametrize(
    ("market", "symbol", "shared"),
    [("spot", "btcusdt", 564), ("spot", "ethusdt", 577), ("usdm", "btcusdt", 629), ("usdm", "ethusdt", 551)],
)
def test_book_from_recorded_changes_has_the_recorded_best_prices(market: str, symbol: str, shared: int) -> None:
    book = OrderBook(symbol.upper())
    ours: dict[int, tuple[Level | None, Level | None]] = {}
    theirs: dict[int, tuple[Level, Level]] = {}
    for quote in recorded(market, symbol):
        match quote:
            case Depth():
                book.take_depth(quote)
            case DepthChange():
                book.take_change(quote)
            case Best(update_id=int() as update_id):
                theirs[update_id] = quote.bid, quote.ask
        if book.last_id is not None:
            ours[book.last_id] = book.bid, book.ask
    both = ours.keys() & theirs.keys()
    assert {id: ours[id] for id in both} == {id: theirs[id] for id in both}
    assert (len(both), book.resyncs) == (shared, 0)


def change(first_id: int, last_id: int, *bids: tuple[str, str], previous_id: int | None = None) -> DepthChange:
    levels = tuple((D(price), D(quantity)) for price, quantity in bids)
    return DepthChange("BTCUSDT", 1, first_id, last_id, previous_id, levels, ((D(101), D(last_id)),))


DEPTH = Depth(100, ((D(99), D(1)), (D(98), D(2))), ((D(101), D(1)), (D(102), D(3))))


def in_step() -> OrderBook:
    book = OrderBook("BTCUSDT")
    book.take_depth(DEPTH)
    return book


def test_change_that_does_not_follow_asks_for_the_depth_again() -> None:
    book = in_step()
    book.take_change(change(101, 103, ("99", "5")))
    assert (book.last_id, book.bid) == (103, (D(99), D(5)))
    book.take_change(change(105, 106))
    assert (book.wants_depth, book.bid, book.ask, book.resyncs) == (True, None, None, 1)
    book.take_change(change(107, 107, ("97", "7")))
    book.take_depth(Depth(103, DEPTH.bids, DEPTH.asks))  # before what was kept back: too old
    assert book.wants_depth
    book.take_depth(Depth(105, DEPTH.bids, DEPTH.asks))
    assert (book.last_id, book.bid, book.ask) == (107, (D(99), D(1)), (D(101), D(107)))


def test_futures_follow_by_the_last_id_of_the_change_before() -> None:
    book = OrderBook("BTCUSDT")
    book.take_change(change(90, 99, previous_id=80))
    book.take_change(change(100, 104, ("99", "4"), previous_id=99))
    book.take_depth(DEPTH)
    assert (book.last_id, book.bid) == (104, (D(99), D(4)))
    book.take_change(change(120, 125, ("99", "6"), previous_id=104))  # ids of other symbols lie between
    assert (book.last_id, book.bid) == (125, (D(99), D(6)))
    book.take_change(change(126, 130, previous_id=126))
    assert book.wants_depth


@pytest.mark.parametrize("previous_id", [None, 99])
def test_repeated_and_old_changes_are_passed_over(previous_id: int | None) -> None:
    book = in_step()
    once = change(100, 103, ("99", "5"), previous_id=previous_id)
    book.take_change(once)
    book.take_change(once)
    book.take_change(change(90, 95, ("99", "9"), previous_id=previous_id))
    assert (book.last_id, book.bid, book.resyncs) == (103, (D(99), D(5)), 0)


def test_level_of_quantity_zero_is_gone_and_an_unknown_one_may_go() -> None:
    book = in_step()
    book.take_change(change(101, 101, ("99", "0.000"), ("50", "0")))
    assert book.bid == (D(98), D(2))


def test_lost_link_empties_the_book() -> None:
    book = in_step()
    book.link_lost()
    assert (book.wants_depth, book.bid, book.within(D(1)), book.buy_price(D(1))) == (True, None, (D(0), D(0)), None)


@pytest.mark.spec("ORD-7")
def test_book_tells_what_an_order_of_a_size_would_meet() -> None:
    book = in_step()
    assert book.within(D("0.01")) == (D(99), D(101) + D(3) * D(102))
    assert book.within(D("0.02")) == (D(99) + D(2) * D(98), D(101) + D(3) * D(102))
    assert book.buy_price(D(101)) == D(101)
    assert book.buy_price(D(101) + D(102)) == D(203) / 2
    assert book.buy_price(D(10_000)) is None
