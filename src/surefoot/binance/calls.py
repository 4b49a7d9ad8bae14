"""Calls from their queueing to their answer: what may leave when and which way, signed as it leaves, and repeated.

Reads may be repeated; a write only where it certainly did nothing, and never an entry, because its price grows old. A
call is signed with the timestamp of the moment in which it is taken. The budget says who has to wait; an entry that
would have to wait is given back instead, and so is every write that would have to wait for long: the core would have
given it up meanwhile and decided anew, and both would act.

Writes go by the WebSocket API while there is a link for them, all else over HTTP. What left by a link is never sent
again: when the link ends before the answer came, nobody knows what became of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from surefoot.binance import codec, signing
from surefoot.binance.budget import ORDERS, WEIGHT, Budget, Cost, Lane
from surefoot.binance.clock import VenueClock
from surefoot.binance.dialect import Ask
from surefoot.binance.dialogue import HttpAnswer, HttpFailed, HttpRequest, Keys, SocketRequest
from surefoot.core.messages import Command, VenueLimited
from surefoot.core.tally import Tally

RETRY_FIRST_MS = 1_000
RETRY_CAP_MS = 30_000
BUSY_FIRST_MS = 200  # as the venue advises
RETRY_JITTER = 0.25
TRIES_MAX = 3
WRITE_HELD_MAX_MS = 5_000  # well before an order that nobody answers for counts as lost
SOCKET_ANSWER_MS = 12_000  # the venue gives up after 10; as long as over HTTP
TOO_MANY_ORDERS = -1015


class Read(Enum):
    """Reads that the session makes of its own accord, and those that commands ask for."""

    TIME = auto()
    PREPARATION = auto()
    STUDY = auto()
    RULES = auto()
    CANDLES = auto()
    CONTEXT = auto()
    PRICE = auto()
    MARK_PRICE = auto()
    ACCOUNT = auto()
    INCOME = auto()
    ACCOUNT_KEY = auto()
    KEEP_KEY = auto()
    ORDER = auto()
    FILLS = auto()


@dataclass(slots=True)
class Call:
    """A request from its queueing to its answer."""

    ask: Ask
    read: Read | None = None
    command: Command | None = None
    symbol: str = ""
    tries: int = 0
    queued_ms: int = 0  # of a write: when it was decided
    not_before_ms: int = 0
    sent_ms: int = 0
    asked_ms: int = 0  # what the venue's clock had shown before it was sent
    link: str | None = None  # the one that it left by; None is over HTTP
    http_only: bool = False  # the link that it should have left by was gone
    outdated: bool = False  # a read from before the link was lost: its answer may miss what closed since

    @property
    def cost(self) -> Cost:
        return Cost(self.ask.weight, self.ask.orders)

    @property
    def cannot_wait(self) -> bool:
        """Whether it is given back rather than sent when it may go."""
        return self.is_entry or (self.read is None and self.not_before_ms > self.queued_ms + WRITE_HELD_MAX_MS)

    @property
    def is_entry(self) -> bool:
        return self.read is None and self.ask.lane is Lane.ENTRY


_counted = re.compile(r"x-mbx-(used-weight|order-count)-([0-9]+)([smhd])").fullmatch
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def counts_in(headers: Mapping[str, str]) -> Iterator[tuple[str, int, int]]:
    """What the venue has counted, as the headers of an answer tell it: kind and interval of the limit, and how much."""
    for name, value in headers.items():
        found = _counted(name)
        if found is not None and value.isdigit():
            kind = WEIGHT if found[1] == "used-weight" else ORDERS
            yield kind, int(found[2]) * _UNIT_MS[found[3]], int(value)


def delay_ms(failures: int, cap_ms: int, first_ms: int = RETRY_FIRST_MS) -> int:
    """How long to wait after so many failures in a row: doubling from the first up to the cap, before jitter."""
    return min(first_ms << min(max(failures - 1, 0), 8), cap_ms)


class Calls:
    """The queue, what is on its way, and the budget. `jitter` returns numbers from 0 to 1.

    Budget and signatures go by the venue's `clock`. `repeated` counts calls that were queued again, `outcomes` what
    became of those that left, by lane, and `answer_ms` how long answers took.
    """

    def __init__(self, keys: Keys, recv_window_ms: int, jitter: Callable[[], float], clock: VenueClock) -> None:
        self.clock = clock
        self.budget = Budget()
        self._keys = keys
        self._recv_window_ms = recv_window_ms
        self._jitter = jitter
        self._queue: list[Call] = []
        self._late: list[Call] = []  # writes held up by the venue's limits: given back at the next wake, which is due
        self._sent: dict[int, Call] = {}
        self._last_id = 0
        self._told_until_ms: dict[str, int] = {}
        self.repeated = 0
        self.outcomes: dict[tuple[Lane, str], int] = {}
        self.answer_ms = {lane: Tally() for lane in Lane}

    def count(self, call: Call, outcome: str, took_ms: int | None) -> None:
        """Note what became of a call; `took_ms` is None when no answer came."""
        key = call.ask.lane, outcome
        self.outcomes[key] = self.outcomes.get(key, 0) + 1
        if took_ms is not None:
            self.answer_ms[call.ask.lane].add(took_ms)

    def waiting(self) -> tuple[int, int]:
        """How many calls are queued, and how many left and are not answered."""
        return len(self._queue), len(self._sent)

    def next_id(self) -> int:
        """A number that no other request of this session has."""
        self._last_id += 1
        return self._last_id

    def add(self, call: Call) -> None:
        self._queue.append(call)

    def pending(self) -> Iterator[Call]:
        """What is queued or on its way."""
        yield from self._queue
        yield from self._sent.values()

    def is_queued(self, read: Read) -> bool:
        """Whether such a read is still to leave."""
        return any(call.read is read for call in self._queue)

    def has_writes(self) -> bool:
        return any(call.read is None for call in self._queue)

    def take(self, now_ms: int, link: str | None = None) -> list[HttpRequest | SocketRequest]:
        """All that may leave now, exits before entries before data; `link` takes orders, None when there is none."""
        if not self._queue:
            return []
        waiting: list[Call] = []
        leaving: list[HttpRequest | SocketRequest] = []
        for call in sorted(self._queue, key=lambda call: -call.ask.lane):
            wait_ms = self.budget.wait_ms(call.cost, call.ask.lane, self.clock.venue_ms(now_ms))
            call.not_before_ms = max(call.not_before_ms, now_ms + wait_ms)
            if call.not_before_ms <= now_ms:
                leaving.append(self._send(call, link, now_ms))
            else:
                (self._late if call.cannot_wait else waiting).append(call)
        self._queue = waiting
        return leaving

    def free_ms(self, call: Call, now_ms: int) -> int:
        """When the like of a call that did nothing may leave."""
        wait_ms = self.budget.wait_ms(call.cost, call.ask.lane, self.clock.venue_ms(now_ms))
        return now_ms + max(wait_ms, RETRY_FIRST_MS)

    @property
    def held_until_ms(self) -> int:
        """When the venue listens again, by our clock."""
        return self.budget.held_until_ms - self.clock.offset_ms

    def take_late(self) -> list[Call]:
        """Writes that could not leave in time."""
        late, self._late = self._late, []
        return late

    def take_back_entries(self) -> list[Call]:
        """Entries that have not left."""
        entries = [call for call in self._queue if call.is_entry]
        self._queue = [call for call in self._queue if not call.is_entry]
        return entries

    def due_ms(self) -> int | None:
        """When something queued may leave or has to be given back, or an answer is overdue; None when nothing waits."""
        if self._late:
            return 0
        due: int | None = None
        for call in self._queue:
            due = call.not_before_ms if due is None else min(due, call.not_before_ms)
        for call in self._sent.values():
            if call.link is not None and (due is None or call.sent_ms + SOCKET_ANSWER_MS < due):
                due = call.sent_ms + SOCKET_ANSWER_MS
        return due

    def idle(self, now_ms: int) -> bool:
        """Whether nothing waits for an answer and nothing could leave now."""
        return not self._sent and not self._late and not any(c.not_before_ms <= now_ms for c in self._queue)

    def answered(self, answer: HttpAnswer) -> Call:
        """The call that this answers; the venue's counts are taken over."""
        call = self._sent.pop(answer.request_id)
        for kind, interval_ms, used in counts_in(answer.headers):
            unanswered = sum(each.cost.of(kind) for each in self._sent.values())
            self.budget.correct(kind, interval_ms, used, self.clock.venue_ms(call.sent_ms), unanswered)
        return call

    def waits_for(self, request_id: int | str | None) -> bool:
        """Whether a request left by that number, and its answer has not come."""
        return request_id in self._sent

    def overdue_links(self, now_ms: int) -> set[str]:
        """Links by which something left that should have been answered by now."""
        sent = self._sent.values()
        return {call.link for call in sent if call.link is not None and now_ms >= call.sent_ms + SOCKET_ANSWER_MS}

    def lost_with(self, link: str) -> list[Call]:
        """What left by a link that has ended, and was not answered."""
        lost = {request_id: call for request_id, call in self._sent.items() if call.link == link}
        for request_id, call in lost.items():
            del self._sent[request_id]
            self.count(call, "lost", None)
        return list(lost.values())

    def failed(self, failure: HttpFailed) -> Call:
        call = self._sent.pop(failure.request_id)
        self.count(call, "lost" if failure.sent else "not sent", None)
        return call

    def limited(
        self, answer: HttpAnswer, error: codec.VenueError, kind: codec.Outcome, now_ms: int
    ) -> VenueLimited | None:
        """Wait as the venue says after 429 and 418; its limit of orders holds up nothing but entries. What is to be
        said of it; None when the same was said before."""
        if kind not in ("limited", "banned"):
            return None
        retry_after = answer.headers.get("retry-after", "")
        retry_after_s = int(retry_after) if retry_after.isdigit() else None
        hold = self.budget.banned if kind == "banned" else self.budget.limited
        if error.code == TOO_MANY_ORDERS:
            hold = self.budget.orders_limited
        until_ms = hold(retry_after_s, self.clock.venue_ms(now_ms)) - self.clock.offset_ms
        if until_ms <= self._told_until_ms.get(kind, 0):
            return None
        self._told_until_ms[kind] = until_ms
        return VenueLimited(now_ms, until_ms, kind == "banned", f"{answer.status} {error.text}".rstrip())

    def repeat(self, call: Call, now_ms: int, first_ms: int = RETRY_FIRST_MS) -> None:
        """Queue a call again, later each time."""
        call.not_before_ms = now_ms + self.jittered(delay_ms(call.tries, RETRY_CAP_MS, first_ms))
        self.repeated += 1
        self._queue.append(call)

    def later(self, call: Call, from_ms: int) -> None:
        """Queue a read anew, for a later time."""
        call.tries, call.not_before_ms = 0, from_ms
        self._queue.append(call)

    def repeat_write(self, call: Call, now_ms: int, first_ms: int = RETRY_FIRST_MS) -> bool:
        """Queue a write again that did nothing at the venue; False when it is an entry, or was tried often enough."""
        call.tries += 1
        if call.is_entry or call.tries >= TRIES_MAX:
            return False
        self.repeat(call, now_ms, first_ms)
        return True

    def jittered(self, wait_ms: int) -> int:
        """A quarter more or less."""
        return int(wait_ms * (1 + RETRY_JITTER * (2 * self._jitter() - 1)))

    def forget(self, *reads: Read) -> None:
        """Drop queued reads of these kinds."""
        self._queue = [call for call in self._queue if call.read not in reads]

    def outdate(self, read: Read) -> None:
        """Drop reads of a kind, also those on their way: their answers will not be looked at."""
        self.forget(read)
        for call in self._sent.values():
            call.outdated = call.outdated or call.read is read

    def _send(self, call: Call, link: str | None, now_ms: int) -> HttpRequest | SocketRequest:
        self.budget.spend(call.cost, self.clock.venue_ms(now_ms))
        request_id = self.next_id()
        call.sent_ms, call.asked_ms = now_ms, self.clock.told_ms
        self._sent[request_id] = call
        ask, params = call.ask, call.ask.params
        call.link = link if ask.socket and not call.http_only else None
        if call.link is not None:
            said: dict[str, str | int] = {
                **dict(params),
                "apiKey": self._keys.api_key,
                "recvWindow": self._recv_window_ms,
                "timestamp": self.clock.venue_ms(now_ms),
            }
            said["signature"] = signing.sign_ws(self._keys.secret, said)
            return SocketRequest(request_id, call.link, codec.ws_request_text(request_id, ask.socket, said))
        return http_request(request_id, ask, self._keys, self._recv_window_ms, self.clock.venue_ms(now_ms))


def http_request(request_id: int, ask: Ask, keys: Keys, recv_window_ms: int, venue_ms: int) -> HttpRequest:
    """A request as it leaves at the venue's time `venue_ms`, signed where it has to be."""
    headers = {"X-MBX-APIKEY": keys.api_key} if ask.signed or ask.keyed else {}
    params = ask.params
    if ask.signed:
        params = [*params, ("recvWindow", str(recv_window_ms)), ("timestamp", str(venue_ms))]
    query = signing.query_text(params)
    if ask.signed:
        query += "&" + signing.query_text([("signature", signing.sign_rest(keys.secret, query.encode()))])
    return HttpRequest(request_id, ask.method, f"{ask.path}?{query}" if query else ask.path, headers)
