"""Scenario tables: what happens on the left, what must follow indented under it, in a trader's words.

Each `*.txt` here is one test for each way that orders may go. The vocabulary is the methods of `Table`: a line's first
word, or two, name it. A line that begins with `rest:` or `socket:` is for orders that go that way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from surefoot.core.messages import (
    BreakerResetRequested,
    FlattenRequested,
    OperatorEvent,
    PauseRequested,
    QueryOrder,
    ReadAccount,
    ReadFills,
    RecordDecision,
    Request,
    ResumeRequested,
    WatchPrice,
)
from surefoot.core.orders import Order
from surefoot.research.exact import Fate
from tests.stage import PLENTY, Planned, Stage, instrument, stage_settings

TABLES = sorted(Path(__file__).parent.glob("*.txt"))
SYMBOL = "BTCUSDT"
READS = {"query": ("GET", "/api/v3/order?"), "account": ("GET", "/api/v3/account?")}
# What an order is told by, for each `orders.transport`; reads go by REST in both.
REQUESTS = {
    "rest": READS
    | {
        "entry": ("POST", "/api/v3/orderList/o"),
        "protection": ("POST", "/api/v3/orderList/oco"),
        "order": ("POST", "/api/v3/order?"),
        "replace": ("POST", "/api/v3/order/cancelReplace"),
        "cancel": ("DELETE", "/api/v3/order"),
    },
    "socket": READS
    | {
        "entry": ("SOCKET", "orderList.place.o"),
        "protection": ("SOCKET", "orderList.place.oco"),
        "order": ("SOCKET", 'order.place"'),
        "replace": ("SOCKET", "order.cancelReplace"),
        "cancel": ("SOCKET", 'order.cancel"'),
    },
}

WISHES: dict[str, Callable[[int, str, str], OperatorEvent]] = {
    "flatten": FlattenRequested,
    "reset": BreakerResetRequested,
    "pause": PauseRequested,
    "resume": ResumeRequested,
}


def spec_of(table: Path) -> list[str]:
    """The requirement ids on a table's first line: `# SAFE-1 ORD-4: title`."""
    return re.findall(r"[A-Z]+-\d+", table.read_text().splitlines()[0])


@pytest.mark.spec(
    "SAFE-1", "SAFE-2", "SAFE-4", "SAFE-6", "ORD-1", "ORD-2", "ORD-3", "ORD-4", "ORD-6", "ORD-7", "ORD-8", "ORD-9"
)
@pytest.mark.spec("EXIT-4", "EXIT-6", "EXIT-7", "BRK-1", "BRK-2", "BRK-3", "BRK-5", "SAFE-3")
@pytest.mark.spec("EXIT-2", "PNL-1", "NET-3", "NET-5", "MODE-3", "SIG-8")
@pytest.mark.parametrize("transport", REQUESTS)
@pytest.mark.parametrize("table", TABLES, ids=[table.stem for table in TABLES])
def test_scenario_follows_its_table(table: Path, transport: str) -> None:
    stage_of = Table(transport)
    for number, line in enumerate(table.read_text().splitlines(), 1):
        text = line.partition("#")[0].strip()
        only, colon, rest = text.partition(": ")
        if colon and only in REQUESTS:
            text = rest if only == transport else ""
        if not text:
            continue
        try:
            stage_of.expect(text) if line.startswith(" ") else stage_of.happen(text)
        except AssertionError as failure:
            raise AssertionError(f"{table.name}:{number}: {line.strip()}\n{failure}\n{stage_of.picture()}") from failure


@pytest.mark.spec("SAFE-1", "SAFE-4", "ORD-4")
def test_there_is_a_table_for_each_named_danger() -> None:
    names = {table.stem for table in TABLES}
    assert all(spec_of(table) for table in TABLES), "a table names the requirements that it shows on its first line"
    assert {"answer_lost_after_acceptance", "503_with_the_order_executed", "fill_overtakes_acknowledgement"} <= names


class Table:
    """Runs a table line by line; the stage is built at `start`."""

    def __init__(self, transport: str) -> None:
        self.rules: dict[str, object] = {}
        self.settings: dict[str, str] = {"orders__transport": transport}
        self.requests = REQUESTS[transport]
        self.usdt = "10000"
        self.planned = Planned()
        self._stage: Stage | None = None
        self._orders_seen = 0

    @property
    def stage(self) -> Stage:
        assert self._stage is not None, "`start` comes first"
        return self._stage

    # -- what happens -----------------------------------------------------------------------------------------

    def happen(self, text: str) -> None:
        words = text.split()
        action: Callable[[list[str]], None] = getattr(self, f"do_{words[0]}")
        if self._stage is not None:
            self.stage.sent.clear()
        action(words[1:])

    def do_rules(self, words: list[str]) -> None:
        """rules opo no | rules stop-limit only | rules notional 500 | rules lot 0.01"""
        match words:
            case ["opo", "no"]:
                self.rules["opo_allowed"] = False
            case ["lists", "no"]:
                self.rules |= {"opo_allowed": False, "oto_allowed": False}
            case ["stop-limit", "only"]:
                self.rules["order_types"] = ("LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT")
            case ["notional", amount]:
                self.rules["min_notional"] = Decimal(amount)
            case ["lot", lot]:
                self.rules |= {"lot_size": Decimal(lot), "min_qty": Decimal(lot)}
            case _:
                raise ValueError(words)

    def do_setting(self, words: list[str]) -> None:
        self.settings[words[0].replace(".", "__")] = words[1]

    def do_balance(self, words: list[str]) -> None:
        self.usdt = words[1]

    def do_start(self, words: list[str]) -> None:
        """start at 30000: the exchange has a price, the bot comes up and its books agree."""
        settings = stage_settings([SYMBOL], **self.settings)
        specs = [instrument(SYMBOL, **self.rules)]
        self._stage = Stage(settings, usdt=self.usdt, instruments=specs, fates=self.planned)
        self.stage.price(SYMBOL, Decimal(words[1]))
        self.stage.start()
        self.stage.wait(5_000)

    def do_signal(self, words: list[str]) -> None:
        """signal long [thin 0.001]: the candle closes with a signal; thin is all the market offers then."""
        self.stage.script.say(SYMBOL, {"long": 1.0, "short": -1.0}[words[0]])
        self.stage.next_candle(SYMBOL, Decimal(words[2]) if words[1:2] == ["thin"] else PLENTY)
        self.stage.wait(1_000)

    def do_price(self, words: list[str]) -> None:
        """price 29000 [thin 0.001]"""
        self.stage.price(SYMBOL, Decimal(words[0]), Decimal(words[2]) if words[1:2] == ["thin"] else PLENTY)
        self.stage.wait(1_000)

    def do_wait(self, words: list[str]) -> None:
        self.stage.wait(int(Decimal(words[0].rstrip("s")) * 1_000))

    def do_lose(self, words: list[str]) -> None:
        """lose answer entry | lose request entry: of the next such request."""
        method, path = self.requests[words[1]]
        fate = Fate(arrives=words[0] == "answer", instead=0, answer_extra_ms=3_000)
        self.planned.requests.append((method, path, fate))

    def do_answer(self, words: list[str]) -> None:
        """answer 503 to entry, executed | answer 503 to entry, not executed | answer late 3s to entry"""
        if words[0] == "late":
            method, path = self.requests[words[3]]
            self.planned.requests.append((method, path, Fate(answer_extra_ms=int(words[1].rstrip("s")) * 1_000)))
            return
        method, path = self.requests[words[2].rstrip(",")]
        self.planned.requests.append((method, path, Fate(arrives=words[3] == "executed", instead=int(words[0]))))

    def do_arrive(self, words: list[str]) -> None:
        """arrive late 8s entry[, answer lost]: the request itself is held up on the way."""
        method, path = self.requests[words[2].rstrip(",")]
        late_ms = int(words[1].rstrip("s")) * 1_000
        self.planned.requests.append((method, path, Fate(extra_ms=late_ms, instead=0 if words[3:] else None)))

    def do_repeat(self, words: list[str]) -> None:
        """repeat account "x":"TRADE": that frame comes twice."""
        self.planned.frames.append((words[0], " ".join(words[1:]), (0, 500)))

    def do_delay(self, words: list[str]) -> None:
        """delay 2s account "x":"TRADE" """
        self.planned.frames.append((words[1], " ".join(words[2:]), (int(words[0].rstrip("s")) * 1_000,)))

    def do_cut(self, words: list[str]) -> None:
        self.stage.driver.cut(words[0], "the connection broke")
        self.stage.wait(1)

    def do_kill(self, words: list[str]) -> None:
        self.stage.kill()

    def do_restart(self, words: list[str]) -> None:
        self.stage.start()
        self.stage.wait(5_000)

    def do_operator(self, words: list[str]) -> None:
        """operator flatten | operator reset | operator pause | operator resume"""
        self.stage.driver.tell(WISHES[words[0]](self.stage.now_ms, "ada", "a table says so"))
        self.stage.wait(1_000)

    def do_deposit(self, words: list[str]) -> None:
        self.stage.exchange.deposit("stage-key", words[1], Decimal(words[0]), self.stage.now_ms)
        self.stage.driver.take_frames()

    # -- what must follow -------------------------------------------------------------------------------------

    def expect(self, text: str) -> None:
        words = text.split()
        check: Callable[[list[str]], None] = getattr(self, f"see_{words[0]}")
        check(words[1:])

    def _ours(self, role: str) -> list[Order]:
        ids = [name for name in self.stage.submitted() if name.endswith({"exit": "x"}.get(role, role[0]))]
        orders = [self.stage.engine.orders.get(name) for name in ids]
        return [order for order in orders if order is not None]

    def see_order(self, words: list[str]) -> None:
        """order entry NEW | order entry FILLED 0.06 | order stop FILLED"""
        orders = self._ours(words[0])
        assert orders, f"no {words[0]} order was sent"
        assert orders[-1].state == words[1], f"{words[0]} is {orders[-1].state}"
        if len(words) > 2:
            assert orders[-1].filled == Decimal(words[2]), f"{words[0]} filled {orders[-1].filled}"

    def see_orders(self, words: list[str]) -> None:
        """orders 3: so many did the venue ever take, and no id twice."""
        self.stage.check_orders()
        count = len(self.stage.venue_orders(SYMBOL))
        assert count == int(words[0]), f"the venue has {count} orders"

    def see_nothing(self, words: list[str]) -> None:
        """Nothing but asking, records and price watching left the bot in this step."""
        quiet = (QueryOrder, ReadAccount, ReadFills, WatchPrice)
        loud = [
            command for command in self.stage.sent if isinstance(command, Request) and not isinstance(command, quiet)
        ]
        assert not loud, f"sent {loud}"

    def see_query(self, words: list[str]) -> None:
        assert self.stage.queries(), "the venue was not asked"

    def see_position(self, words: list[str]) -> None:
        position = self.stage.engine.portfolio.positions.get(SYMBOL)
        assert position is not None, "flat"
        assert position.quantity == Decimal(words[0]), f"holds {position.quantity}"

    def see_flat(self, words: list[str]) -> None:
        assert SYMBOL not in self.stage.engine.portfolio.positions, "holds a position"

    def see_protected(self, words: list[str]) -> None:
        """A stop of ours rests at the venue itself, for what is held."""
        resting = [
            Decimal(str(order["origQty"]))
            for order in self.stage.venue_orders(SYMBOL)
            if order["status"] == "NEW" and str(order["type"]).startswith("STOP_LOSS")
        ]
        held = self.stage.engine.portfolio.positions[SYMBOL].quantity
        lot = self.stage.engine.instruments[SYMBOL].lot_size
        assert resting, "no stop rests at the venue"
        assert sum(resting, Decimal(0)) > held - lot, f"stops for {sum(resting, Decimal(0))}, held {held}"

    def see_stop(self, words: list[str]) -> None:
        """stop at 30294: there, and nowhere else, a stop rests at the venue."""
        prices = [
            Decimal(str(order["stopPrice"]))
            for order in self.stage.venue_orders(SYMBOL)
            if order["status"] == "NEW" and str(order["type"]).startswith("STOP_LOSS")
        ]
        assert prices == [Decimal(words[1])], f"stops rest at {prices}"

    def see_trip(self, words: list[str]) -> None:
        """trip day loss: in force"""
        assert " ".join(words) in self.stage.engine.breaker.trips, f"trips: {list(self.stage.engine.breaker.trips)}"

    def see_unprotected(self, words: list[str]) -> None:
        assert SYMBOL in self.stage.engine.unprotected_since, "counts as protected"

    def see_dust(self, words: list[str]) -> None:
        """dust 0.0009 | dust below 0.001"""
        dust = self.stage.engine.portfolio.dust.get(SYMBOL, Decimal(0))
        if words[0] == "below":
            assert dust < Decimal(words[1]), f"dust is {dust}"
        else:
            assert dust == Decimal(words[0]), f"dust is {dust}"

    def see_round(self, words: list[str]) -> None:
        """round trip stop"""
        trips = self.stage.engine.portfolio.round_trips
        assert trips, "no round trip"
        assert trips[-1].reason == words[1], f"ended by {trips[-1].reason}"

    def see_left(self, words: list[str]) -> None:
        """left 1 BTC: at least so much is at the venue."""
        owned = self.stage.venue_balances().get(words[1], Decimal(0))
        assert owned >= Decimal(words[0]), f"only {owned} {words[1]} are left"

    def see_books(self, words: list[str]) -> None:
        """books agree | books equal: the second compares with the venue itself."""
        if words[0] == "equal":
            self.stage.check_books()
        else:
            assert self.stage.engine.books == words[0], f"{self.stage.engine.books}: {self.stage.engine.differences}"

    def see_entries(self, words: list[str]) -> None:
        """entries on | entries off: some words of the reason"""
        reason = self.stage.engine.entries_off()
        if words[0] == "on":
            assert reason is None, reason
        else:
            assert reason is not None, "entries are on"
            assert " ".join(words[1:]) in reason, reason

    def see_refused(self, words: list[str]) -> None:
        """refused exitability: the newest decision on a signal says so."""
        decisions = [command for command in self.stage.sent if isinstance(command, RecordDecision)]
        outcomes = [decision.outcome for decision in decisions if decision.outcome != "none"]
        assert outcomes[-1:] == [words[0]], f"decided {outcomes}"

    def see_alarm(self, words: list[str]) -> None:
        assert self.stage.counts[f"alarm {words[0]}"], f"alarms: {[a.code for a in self.stage.engine.alarms]}"

    def see_no(self, words: list[str]) -> None:
        """no alarm | no trip"""
        if words == ["trip"]:
            assert not self.stage.engine.breaker.trips, f"trips: {list(self.stage.engine.breaker.trips)}"
            return
        assert words == ["alarm"]
        assert not self.stage.engine.alarms, f"alarms: {list(self.stage.engine.alarms)}"

    def picture(self) -> str:
        """The end of the journal, for whoever has to find out why."""
        return (
            "\n".join(f"  {kind} {body.decode()[:240]}" for kind, body in self._stage.journal[-25:])
            if self._stage
            else ""
        )
