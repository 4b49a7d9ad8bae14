"""What is folded from the journal equals what was lived: the promise that a restart stands on.

A state machine feeds an engine whatever a venue may say, in any order: true reports, late ones, repeated ones, wrong
ones, silence, and deaths of the process. After each step the promises that hold at every moment are checked; at the end
the journal is folded into a fresh engine and every fact is compared.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from surefoot.core.breaker import Limit
from surefoot.core.engine import Engine
from surefoot.core.exits import Take
from surefoot.core.messages import (
    BalanceMoved,
    BreakerResetRequested,
    CancelAllRequested,
    CancelRefused,
    CloseRequested,
    Command,
    Event,
    FlattenRequested,
    KillRequested,
    LinkLost,
    LiveSwitched,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OutcomeUnknown,
    PauseRequested,
    ReplaceOrder,
    ResumeRequested,
    RunStarted,
    SubmitList,
    SubmitOrder,
    Woke,
)
from surefoot.core.model import Purpose, Tier
from surefoot.core.orders import Order, State
from tests.core.desk import BTC, INTERVAL_MS, SETTINGS, Desk, Script, dec, facts, fill, sent

ID = re.compile(r"^sf-[A-Za-z0-9-]+$")
WAITS_MS = st.sampled_from([0, 1, 400, 1_000, 5_000, 12_000, 60_000, INTERVAL_MS, 86_400_000])
SHARES = st.sampled_from([dec("0.3"), dec("0.5"), dec(1), dec("1.2")])
PRICES = st.sampled_from(["22000", "29300", "30000", "30010.5", "31300"])
INSTRUMENTS = st.sampled_from([(True, True), (True, False), (False, False)])
ACCOUNT = "account"
WISHES = (
    *(PauseRequested, ResumeRequested, FlattenRequested, CancelAllRequested, KillRequested),
    BreakerResetRequested,
)


# Every exit rule at work, and tiers that sell: what is folded has to know of all of it.
BUSY = replace(
    SETTINGS,
    risk=replace(SETTINGS.risk, loss_streak_max=2, entry_gap_min_ms=1_000),
    exits=replace(
        SETTINGS.exits,
        trail_activate_pct=dec("0.02"),
        trail_distance_pct=dec("0.5"),
        break_even_after_r=dec("0.5"),
        takes=(Take(dec("0.01"), dec(30)), Take(dec(4), dec(30))),
        hold_max_ms=2 * INTERVAL_MS,
        reversal_closes=2,
        opposite_score_min=0.5,
    ),
    breaker=replace(
        SETTINGS.breaker,
        day_loss=Limit(dec(1), Tier.SHRINK),
        rolling_loss=Limit(dec(2), Tier.WARN),
        drawdown=Limit(dec(3), Tier.FLATTEN),
        venue_errors_max=4,
        refusals_max=3,
    ),
)


def folded(journal: list[Event | Command]) -> Engine:
    engine = Engine(BUSY, Script())
    for message in journal:
        engine.fold(message)
    return engine


class Trading(RuleBasedStateMachine):
    """One desk and all that can happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(BUSY)
        self.ids: set[str] = set()
        self.lives = 1
        self.trade_id = 0

    # -- what every step has to keep --------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        taken = self.taken()
        self.check(self.desk.tell(event), taken)

    def taken(self) -> set[str]:
        """Symbols of which something is open, in doubt or held."""
        open_orders = self.desk.engine.orders.open_orders()
        return {order.symbol for order in open_orders} | set(self.desk.engine.portfolio.positions)

    def check(self, commands: list[Command], taken: set[str]) -> None:
        """Promises about what was just sent."""
        for order in sent(commands):
            assert ID.match(order.client_order_id)
            assert len(order.client_order_id) <= 36
            assert order.client_order_id not in self.ids, "a client order id was used twice"
            self.ids.add(order.client_order_id)
            assert order.quantity is None or order.quantity > 0
            if order.purpose is Purpose.ENTRY:
                assert order.symbol not in taken, "an entry while something of its symbol was open"
        assert all(command.at_ms == self.desk.now_ms for command in commands)
        submissions = [c for c in commands if isinstance(c, SubmitOrder | SubmitList | ReplaceOrder)]
        assert len(submissions) <= 1

    @invariant()
    def nothing_is_due_that_could_have_been_done(self) -> None:
        due_ms = self.desk.engine.deadline_ms()
        assert due_ms is None or due_ms > self.desk.now_ms

    @invariant()
    def postings_sum_to_zero(self) -> None:
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        for (_, asset), amount in self.desk.engine.portfolio.ledger.items():
            sums[asset] += amount
        assert not any(sums.values())

    @invariant()
    def position_is_what_was_filled(self) -> None:
        book = self.desk.engine.orders
        bought = sum((o.filled for o in book._orders.values() if o.request.purpose is Purpose.ENTRY), dec(0))
        sold = sum((o.filled for o in book._orders.values() if o.request.purpose is not Purpose.ENTRY), dec(0))
        portfolio = self.desk.engine.portfolio
        held = sum((each.quantity - each.owed for each in portfolio.positions.values()), dec(0))
        fees = portfolio.fees.get("BTC", dec(0))
        assert held + sum(portfolio.dust.values()) == bought - sold - fees

    # -- what can happen --------------------------------------------------------------------------------------

    @initialize(allowed=INSTRUMENTS)
    def open(self, allowed: tuple[bool, bool]) -> None:
        oto, opo = allowed
        changes = {"oto_allowed": oto, "opo_allowed": opo}
        self.desk.instrument = type(BTC)(**{n: changes.get(n, getattr(BTC, n)) for n in BTC.__slots__})
        self.desk.start(USDT="1000", BNB="1")
        self.check(self.desk.candle("30000", 1.0), set())

    @rule(ms=WAITS_MS)
    def time_passes(self, ms: int) -> None:
        self.desk.now_ms += ms
        self.tell(Woke(self.desk.now_ms))

    @precondition(lambda self: self.desk.engine.deadline_ms() is not None)
    @rule()
    def deadline_comes(self) -> None:
        due_ms = self.desk.engine.deadline_ms()
        assert due_ms is not None
        self.desk.now_ms = max(due_ms, self.desk.now_ms)
        self.tell(Woke(self.desk.now_ms))

    @rule(price=PRICES, wanted=st.sampled_from([1.0, 1.0, 1.0, 0.0, None]))
    def candle_closes(self, price: str, wanted: float | None) -> None:
        taken = self.taken()
        self.check(self.desk.candle(price, wanted), taken)

    @rule(price=PRICES)
    def price_is_marked(self, price: str) -> None:
        self.check(self.desk.mark(price), set())

    def some_order(self, data: st.DataObject) -> Order:
        known = list(self.desk.engine.orders._orders.values())
        unsettled = list(self.desk.engine.orders.open_orders())
        return data.draw(st.sampled_from(unsettled + known[-3:]), label="order")

    @rule(data=st.data(), resting=st.booleans(), more=st.sampled_from([None, dec(0), dec("0.001")]))
    def venue_accepts(self, data: st.DataObject, resting: bool, more: Decimal | None) -> None:
        order = self.some_order(data)
        size = order.quantity or dec("0.00666")
        executed = None if more is None else min(size, order.filled + more)
        self.tell(OrderAccepted(self.desk.now_ms, order.id, 1 + len(self.ids), resting, size, executed))

    @rule(data=st.data(), share=SHARES, price=PRICES, fee=st.sampled_from([("0.0001", "BNB"), ("0.00001", "BTC")]))
    def venue_fills(self, data: st.DataObject, share: Decimal, price: str, fee: tuple[str, str]) -> None:
        order = self.some_order(data)
        size = order.quantity or dec("0.00666")
        quantity = BTC.lots_down((size - order.filled if size > order.filled else size) * share) or dec("0.00001")
        self.trade_id += 1
        is_buy = order.request.purpose is Purpose.ENTRY
        amount, asset = fee if is_buy and quantity > dec("0.00002") else ("0.01", "USDT")
        traded = fill(
            order.id, self.trade_id, str(quantity), price, order.request.side, amount, asset, self.desk.now_ms
        )
        told = data.draw(st.sampled_from([size, None]), label="order quantity")
        self.tell(OrderFilled(self.desk.now_ms, traded, order.order_id or 7, told))

    @rule(data=st.data(), canceled=st.booleans(), more=st.sampled_from([None, dec(0), dec("0.001")]))
    def order_ends(self, data: st.DataObject, canceled: bool, more: Decimal | None) -> None:
        order = self.some_order(data)
        executed = None if more is None else order.filled + more
        if canceled:
            self.tell(OrderCanceled(self.desk.now_ms, order.id, executed))
        else:
            self.tell(OrderExpired(self.desk.now_ms, order.id, executed, "EXCHANGE_CANCELED"))

    @rule()
    def venue_answers_all_that_was_asked_of_it(self) -> None:
        now_ms, unsettled = self.desk.now_ms, list(self.desk.engine.orders.open_orders())
        entering = any(order.request.purpose is Purpose.ENTRY and not order.finished for order in unsettled)
        for order in unsettled:
            resting = order.request.purpose is Purpose.ENTRY or not entering
            if order.state is State.CANCEL_SENT:
                self.tell(OrderCanceled(now_ms, order.id, max(order.filled, order.reported)))
            elif not order.finished:
                self.tell(OrderAccepted(now_ms, order.id, order.order_id or 9, resting, order.quantity, None))

    @rule(whole=st.booleans(), price=PRICES)
    def what_rests_first_is_filled(self, whole: bool, price: str) -> None:
        resting = [order for order in self.desk.engine.orders.open_orders() if order.resting and not order.finished]
        for order in resting[:1]:
            left = (order.quantity or dec("0.00666")) - order.filled
            quantity = left if whole else BTC.lots_down(left / 2) or left
            if quantity > 0:
                self.trade_id += 1
                side = order.request.side
                traded = fill(order.id, self.trade_id, str(quantity), price, side, "0.01", "USDT", self.desk.now_ms)
                self.tell(OrderFilled(self.desk.now_ms, traded, order.order_id or 7, order.quantity))

    @rule(data=st.data(), kind=st.sampled_from(["rejected", "cancel refused", "unknown", "not found"]))
    def venue_refuses_or_is_silent(self, data: st.DataObject, kind: str) -> None:
        order, now_ms = self.some_order(data), self.desk.now_ms
        for member in list(self.desk.engine.orders.list_members(order.list_id or "")) or [order]:
            match kind:
                case "rejected":
                    self.tell(OrderRejected(now_ms, member.id, -2010, "no"))
                case "cancel refused":
                    self.tell(CancelRefused(now_ms, member.id, -2011, "Unknown order sent."))
                case "unknown":
                    self.tell(OutcomeUnknown(now_ms, member.id, "timed out"))
                case _:
                    self.tell(OrderNotFound(now_ms, member.id))

    @precondition(lambda self: any(isinstance(m, OrderFilled) for m in self.desk.journal))
    @rule(data=st.data())
    def report_is_repeated(self, data: st.DataObject) -> None:
        heard = [m for m in self.desk.journal if isinstance(m, OrderFilled)]
        event = data.draw(st.sampled_from(heard[-5:]), label="repeated")
        order = self.desk.order(event.fill.client_order_id)
        before = dict(self.desk.engine.portfolio.ledger), order.state, order.filled
        self.tell(OrderFilled(self.desk.now_ms, event.fill, event.order_id, event.order_quantity))
        assert (dict(self.desk.engine.portfolio.ledger), order.state, order.filled) == before

    @rule(off=st.sampled_from(["0", "0", "0", "5", "-3"]))
    def account_is_read(self, off: str) -> None:
        balances = {asset: str(amount) for asset, amount in self.desk.engine.portfolio.wallets().items()}
        if off == "0":
            self.check(self.desk.true_snapshot(), set())
        else:
            balances["USDT"] = str(dec(balances["USDT"]) + dec(off))
            self.check(self.desk.snapshot((), **balances), set())

    @rule(delta=st.sampled_from(["50", "-20"]))
    def money_is_moved(self, delta: str) -> None:
        self.tell(BalanceMoved(self.desk.now_ms, "USDT", dec(delta)))

    @rule(kind=st.sampled_from(WISHES))
    def operator_asks(self, kind: type[PauseRequested]) -> None:
        self.tell(kind(self.desk.now_ms, "ada", "a test"))

    @rule(on=st.booleans())
    def operator_switches_real_money(self, on: bool) -> None:
        self.tell(LiveSwitched(self.desk.now_ms, "ada", "a test", on))

    @rule()
    def operator_closes(self) -> None:
        self.tell(CloseRequested(self.desk.now_ms, "ada", "a test", BTC.symbol))

    @rule(link=st.sampled_from([ACCOUNT, "market"]))
    def link_is_lost(self, link: str) -> None:
        self.tell(LinkLost(self.desk.now_ms, link, "closed"))

    @rule(link=st.sampled_from([ACCOUNT, "market"]))
    def link_returns(self, link: str) -> None:
        self.check(self.desk.link(link), set())

    @rule(data=st.data())
    def process_dies_and_starts_again(self, data: st.DataObject) -> None:
        """Death leaves the journal up to some line; what was not written had not been sent either."""
        lines = len(self.desk.journal)
        kept = data.draw(st.integers(max(lines - 6, 12), lines), label="lines on the disk")
        dead = self.desk
        survivor = Desk(dead.settings, dead.instrument, Script(), dead.now_ms, dead.run, dead.journal[:kept])
        self.lives += 1
        submitted = [m for m in survivor.journal if isinstance(m, SubmitOrder | SubmitList | ReplaceOrder)]
        self.ids = {order.client_order_id for order in sent(submitted)}
        self.desk = survivor.restarted(f"r{self.lives}")
        assert not any(order.state is State.SUBMITTED for order in self.desk.engine.orders.open_orders())
        for link in ("market", ACCOUNT):
            self.check(self.desk.link(link), set())

    def teardown(self) -> None:
        journal = self.desk.journal
        lived, read = facts(self.desk.engine), facts(folded(journal))
        assert lived.keys() == read.keys()
        for name in lived:
            assert read[name] == lived[name], name
        for lines in range(0, len(journal), max(len(journal) // 8, 1)):
            engine = folded(journal[:lines])
            engine.fold(RunStarted(self.desk.now_ms, "last", "paper", SETTINGS.symbols, "digest", "0.1.0"))
            assert not any(order.state is State.SUBMITTED for order in engine.orders.open_orders())


@pytest.mark.spec("SAFE-1", "SAFE-4", "SAFE-6", "ORD-3", "ORD-5")
def test_folding_the_journal_of_any_story_gives_the_facts_that_were_lived() -> None:
    run_state_machine_as_test(Trading, settings=settings(max_examples=150, stateful_step_count=40, deadline=None))
