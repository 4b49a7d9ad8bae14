"""listenKeys, and the private stream connections on which their accounts are heard.

A key lives an hour from its last renewal. When it expires its listeners are told and hear nothing more; when it is
deleted they just hear nothing more. Paths: /private/ws and /private/stream, the key in the path, in the query (there
with the events that are wanted, once for each key) or by SUBSCRIBE.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

from simex.frames import Outbox, decode, echoed, encode
from simex.futures.accounts import Account
from simex.futures.clock import NEVER_MS
from simex.futures.events import Listener, UserEvents
from simex.refusal import Refusal

KEY_LIFE_MS: Final = 3_600_000
STREAMS_PER_LINK: Final = 1024
_KEY_LENGTH: Final = 64


@dataclass(slots=True)
class ListenKey:
    account: Account
    text: str
    expires_ms: int


class ListenKeys:
    """The keys that are alive, one an account."""

    def __init__(self) -> None:
        self._alive: dict[str, ListenKey] = {}
        self._made = 0

    def create(self, account: Account, now_ms: int) -> str:
        """A new key, or the living one for another hour."""
        living = self._of(account)
        if living is None:
            self._made += 1
            text = hashlib.sha256(b"listen key %d" % self._made).hexdigest()[:_KEY_LENGTH]
            living = self._alive[text] = ListenKey(account, text, 0)
        living.expires_ms = now_ms + KEY_LIFE_MS
        return living.text

    def renew(self, account: Account, now_ms: int) -> str:
        living = self._of(account)
        if living is None:
            raise _unknown()
        living.expires_ms = now_ms + KEY_LIFE_MS
        return living.text

    def delete(self, account: Account) -> str:
        living = self._of(account)
        if living is None:
            raise _unknown()
        del self._alive[living.text]
        return living.text

    def named(self, text: str) -> ListenKey | None:
        return self._alive.get(text)

    def next_expiry_ms(self) -> int:
        """When the next key's hour is over."""
        return min((key.expires_ms for key in self._alive.values()), default=NEVER_MS)

    def take_expired(self, now_ms: int) -> ListenKey | None:
        """Take the key whose hour was over first; None when there is none."""
        if self.next_expiry_ms() > now_ms:
            return None
        key = min(self._alive.values(), key=lambda key: key.expires_ms)
        return self._alive.pop(key.text)

    def _of(self, account: Account) -> ListenKey | None:
        return next((key for key in self._alive.values() if key.account is account), None)


def _unknown() -> Refusal:
    return Refusal(-1125, "This listenKey does not exist.")


@dataclass(slots=True)
class PrivateLink:
    """One connection: the names it subscribed to, in order, and whose listener each is (None: nothing behind it)."""

    names: dict[str, tuple[Account, Listener] | None] = field(default_factory=dict)


class PrivateLinks:
    """All private stream connections."""

    def __init__(self, keys: ListenKeys, events: UserEvents, outbox: Outbox, is_combined: dict[int, bool]) -> None:
        self._keys = keys
        self._events = events
        self._outbox = outbox
        self._is_combined = is_combined
        self._links: dict[int, PrivateLink] = {}

    def open(self, link: int, target: str) -> bool:
        """A connection to one of the private paths; False for any other path."""
        path, _, query = target.partition("?")
        parts = unquote(path).split("/")
        if parts[:2] != ["", "private"] or parts[2:3] not in (["ws"], ["stream"]):
            return False
        self._links[link] = PrivateLink()
        self._is_combined[link] = parts[2] == "stream"
        for name in parts[3:]:
            self._subscribe(link, name, None)
        for name, kinds in _wanted(query):
            self._subscribe(link, name, kinds)
        return True

    def has(self, link: int) -> bool:
        return link in self._links

    def hears(self, link: int) -> bool:
        """Whether some account is heard on this link."""
        entry = self._links.get(link)
        return entry is not None and any(entry.names.values())

    def close(self, link: int) -> bool:
        """Forget a connection; False when it was none of these."""
        entry = self._links.get(link)
        if entry is None:
            return False
        for name in list(entry.names):
            self._unsubscribe(link, name)
        del self._links[link], self._is_combined[link]
        return True

    def receive(self, link: int, text: str) -> None:
        """One command; the answer is never wrapped."""
        message = decode(text)
        if message is None:
            self._answer(link, {"code": 3, "msg": "Invalid JSON: expected an object"})
            return
        request_id = echoed(message.get("id"))
        if request_id is not None and not isinstance(request_id, int | str):
            self._answer(link, _invalid("request ID must be an unsigned integer, a string or null"))
            return
        self._answer(link, self._obey(link, message) | {"id": request_id})

    def expire(self, key: ListenKey, now_ms: int) -> None:
        """Tell the listeners of a key that it is over, and tell them nothing more."""
        self._events.send(key.account, {"e": "listenKeyExpired", "E": now_ms, "listenKey": key.text})
        self.silence(key.text)

    def silence(self, listen_key: str) -> None:
        """Nothing more comes on this key; its connections stay."""
        for link, entry in self._links.items():
            if entry.names.get(listen_key) is not None:
                self._unsubscribe(link, listen_key)
                entry.names[listen_key] = None

    def _obey(self, link: int, message: Mapping[str, object]) -> dict[str, object]:
        entry, params = self._links[link], message.get("params")
        match message.get("method"):
            case "SUBSCRIBE" | "UNSUBSCRIBE" as method:
                if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
                    return _invalid("params must be a list of stream names")
                if method == "SUBSCRIBE" and len(entry.names) + len(params) > STREAMS_PER_LINK:
                    return _invalid(f"too many parameters; expected at most {STREAMS_PER_LINK} streams")
                for name in params:
                    if method == "SUBSCRIBE":
                        self._subscribe(link, name, None)
                    else:
                        self._unsubscribe(link, name)
                return {"result": None}
            case "LIST_SUBSCRIPTIONS":
                return {"result": list(entry.names)}
            case "SET_PROPERTY":
                return self._set_property(link, params)
            case "GET_PROPERTY":
                return {"result": self._is_combined[link]} if params == ["combined"] else _UNKNOWN_PROPERTY
            case None:
                return _invalid("missing field `method`")
            case method:
                return _invalid(f"unknown variant `{method}`")

    def _set_property(self, link: int, params: object) -> dict[str, object]:
        if not isinstance(params, list) or len(params) != 2 or params[0] != "combined":
            return _UNKNOWN_PROPERTY
        if not isinstance(params[1], bool):
            return {"code": 1, "msg": "Invalid value type: expected Boolean"}
        self._is_combined[link] = params[1]
        return {"result": None}

    def _subscribe(self, link: int, name: str, kinds: frozenset[str] | None) -> None:
        """Listen to a key; a name that is no living key is accepted and stays silent."""
        names = self._links[link].names
        if name in names:
            return
        key = self._keys.named(name)
        names[name] = None
        if key is not None:
            listener = Listener(link, name, kinds)
            names[name] = key.account, listener
            self._events.listeners.setdefault(key.account, []).append(listener)

    def _unsubscribe(self, link: int, name: str) -> None:
        heard = self._links[link].names.pop(name, None)
        if heard is not None:
            account, listener = heard
            self._events.listeners[account].remove(listener)
            if not self._events.listeners[account]:
                del self._events.listeners[account]

    def _answer(self, link: int, message: object) -> None:
        self._outbox.account.append((link, encode(message)))


_UNKNOWN_PROPERTY: Final[dict[str, object]] = {"code": 0, "msg": "Unknown property"}


def _invalid(text: str) -> dict[str, object]:
    return {"code": 2, "msg": f"Invalid request: {text}"}


def _wanted(query: str) -> list[tuple[str, frozenset[str] | None]]:
    """The keys of a query, each with the events that follow it."""
    wanted: list[tuple[str, frozenset[str] | None]] = []
    for name, value in parse_qsl(query):
        if name == "listenKey":
            wanted.append((value, None))
        elif name == "events" and wanted:
            wanted[-1] = wanted[-1][0], frozenset(value.split("/"))
        elif name == "streams":
            wanted += [(entry, None) for entry in value.split("/")]
    return wanted
