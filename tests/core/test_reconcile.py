"""Ours against theirs: every difference has its label, and a comparison changes nothing."""

from __future__ import annotations

from copy import deepcopy
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core.messages import OrderAccepted, OutcomeUnknown
from surefoot.core.model import Balance, Side, VenueOrder
from surefoot.core.orders import OrderBook
from surefoot.core.reconcile import Finding, Label, compare
from tests.core.desk import LOST_AFTER_MS, START_MS, dec, request

AMOUNTS = st.sampled_from([dec("0"), dec("1.5"), dec("1000")])
WALLETS = st.dictionaries(st.sampled_from(["USDT", "BTC", "BNB"]), AMOUNTS)
IDS = st.sets(st.sampled_from(["sf-r1-1e", "sf-r1-2t", "sf-r0-9s", "web_1", "x"]))


def theirs(client_order_id: str) -> VenueOrder:
    zero = dec(0)
    return VenueOrder(client_order_id, 1, "BTCUSDT", Side.BUY, "LIMIT", dec(2), zero, dec(100), zero, True)


def ours(*client_order_ids: str, accepted: bool = True) -> OrderBook:
    book = OrderBook(LOST_AFTER_MS)
    for client_order_id in client_order_ids:
        book.submit(request(client_order_id), START_MS)
        if accepted:
            book.apply(OrderAccepted(START_MS, client_order_id, 1, True, dec(2), None))
    return book


def balances(**amounts: str) -> list[Balance]:
    return [Balance(asset, dec(amount), dec(0)) for asset, amount in amounts.items()]


@pytest.mark.spec("SAFE-4")
def test_equal_books_have_no_findings_and_an_absent_asset_is_none_of_it() -> None:
    book = ours("sf-r1-1e")
    wallets = {"USDT": dec("1000"), "BTC": dec(0)}
    held = [Balance("USDT", dec("800"), dec("200")), *balances(BNB="0")]
    assert compare(wallets, book.open_orders(), held, [theirs("sf-r1-1e")]) == ()


@pytest.mark.spec("SAFE-4")
def test_balance_that_is_off_is_named_with_both_numbers() -> None:
    findings = compare({"USDT": dec(1000), "BTC": dec("0.1")}, [], balances(USDT="990", BNB="1"), [])
    assert [(f.label, f.subject) for f in findings] == [
        (Label.DIFFERS, "BNB"), (Label.DIFFERS, "BTC"), (Label.DIFFERS, "USDT"),
    ]  # fmt: skip
    assert findings[2].text == "USDT: ledger 1000, venue 990, off by -10"


@pytest.mark.spec("ORD-5")
def test_order_of_somebody_else_is_shown_and_one_with_our_prefix_is_unknown() -> None:
    findings = compare({}, [], [], [theirs("web_1"), theirs("sf-r0-9s")])
    assert [(f.label, f.subject) for f in findings] == [(Label.FOREIGN, "web_1"), (Label.UNKNOWN, "sf-r0-9s")]


@pytest.mark.spec("ORD-4")
def test_order_that_the_venue_does_not_list_is_asked_for() -> None:
    findings = compare({}, ours("sf-r1-1e").open_orders(), [], [])
    assert [(f.label, f.subject) for f in findings] == [(Label.ASK, "sf-r1-1e")]


@pytest.mark.spec("ORD-4")
def test_order_that_waits_for_its_answer_or_is_in_doubt_is_no_finding() -> None:
    book = ours("sf-r1-1e", "sf-r1-2e", accepted=False)
    book.apply(OutcomeUnknown(START_MS, "sf-r1-2e", "timed out"))
    assert compare({}, book.open_orders(), [], []) == ()


@pytest.mark.spec("ORD-9")
@given(WALLETS, WALLETS, IDS, IDS)
def test_comparing_is_pure_repeatable_and_only_ever_labels(
    wallet: dict[str, Decimal], venue: dict[str, Decimal], our_ids: set[str], their_ids: set[str]
) -> None:
    book = ours(*sorted(our_ids))
    held = [Balance(asset, amount, dec(0)) for asset, amount in venue.items()]
    listed = [theirs(client_order_id) for client_order_id in sorted(their_ids)]
    before = deepcopy((wallet, book, held, listed))
    first = compare(wallet, book.open_orders(), held, listed)
    assert compare(wallet, book.open_orders(), held, listed) == first
    assert (wallet, book, held, listed) == before
    assert all(type(finding) is Finding for finding in first)
    subjects = {label: {f.subject for f in first if f.label is label} for label in Label}
    assert subjects[Label.ASK] == our_ids - their_ids
    assert subjects[Label.UNKNOWN] == {i for i in their_ids - our_ids if i.startswith("sf-")}
    assert subjects[Label.FOREIGN] == {i for i in their_ids - our_ids if not i.startswith("sf-")}
    zero = dec(0)
    assert subjects[Label.DIFFERS] == {a for a in wallet | venue if wallet.get(a, zero) != venue.get(a, zero)}
