"""A venue that floods: market frames as fast as they are taken, or at a rate, while the account has news of its own.

Run by `bench.live` as a process. It speaks just enough of the streams and of the WebSocket API for a trader to
subscribe; everything else the trader asks of the simulated exchange. Frames are encoded before they are sent. Each
event of the account bears its number, so that what is lost can be counted: `{"sent": …}` is the last line it prints.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")
INTERVALS = ("1m", "15m", "1h")
BLOB_FRAMES = 2_000
PULSE_S = 0.005
TEXT, PONG = 1, 10  # opcodes


def ws_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One unmasked frame, as a server sends it."""
    size = len(payload)
    head = bytes([0x80 | opcode, size]) if size < 126 else bytes([0x80 | opcode, 126]) + size.to_bytes(2, "big")
    return head + payload


def market_blob(number: int) -> bytes:
    """So many frames in a row: best prices of all symbols, and every tenth a candle that goes on."""
    told = []
    for at in range(BLOB_FRAMES):
        symbol = SYMBOLS[at % len(SYMBOLS)]
        price = 100 + (number * BLOB_FRAMES + at) % 50 / 100
        if at % 10:
            data: dict[str, Any] = {
                "u": at, "s": symbol, "b": f"{price:.2f}", "B": "12.34500000",
                "a": f"{price + 0.01:.2f}", "A": "3.21000000",
            }  # fmt: skip
            stream = f"{symbol.lower()}@bookTicker"
        else:
            interval = INTERVALS[at // 10 % len(INTERVALS)]
            now_ms = time.time_ns() // 1_000_000
            k = {
                "t": now_ms // 60_000 * 60_000, "T": now_ms // 60_000 * 60_000 + 59_999, "s": symbol, "i": interval,
                "f": 1, "L": 2, "o": "100.00", "c": f"{price:.2f}", "h": "101.00", "l": "99.00", "v": "5.00000000",
                "n": 2, "x": False, "q": "500.00", "V": "2.0", "Q": "200.0", "B": "0",
            }  # fmt: skip
            data = {"e": "kline", "E": now_ms, "s": symbol, "k": k}
            stream = f"{symbol.lower()}@kline_{interval}"
        told.append(ws_frame(json.dumps({"stream": stream, "data": data}, separators=(",", ":")).encode()))
    return b"".join(told)


def account_event(number: int) -> bytes:
    """Somebody else's order of that number has come to rest."""
    now_ms = time.time_ns() // 1_000_000
    event = {
        "e": "executionReport", "E": now_ms, "s": "BTCUSDT", "c": f"web_{number}", "S": "BUY", "o": "LIMIT", "f": "GTC",
        "q": "0.00100000", "p": "50.00000000", "P": "0.00000000", "F": "0.00000000", "g": -1, "C": "", "x": "NEW",
        "X": "NEW", "r": "NONE", "i": number, "l": "0.00000000", "z": "0.00000000", "L": "0.00000000", "n": "0",
        "N": None, "T": now_ms, "t": -1, "I": number, "w": True, "m": False, "M": False, "O": now_ms,
        "Z": "0.00000000", "Y": "0.00000000", "Q": "0.00000000", "V": "EXPIRE_MAKER",
    }  # fmt: skip
    return ws_frame(json.dumps({"subscriptionId": 0, "event": event}, separators=(",", ":")).encode())


class Link:
    """One connection of the trader's, on a thread of its own for what comes from it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._unread = b""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.path = self._shake_hands()

    def send(self, data: bytes) -> None:
        with self._sending:
            self._connection.sendall(data)

    def close(self) -> None:
        self._connection.close()

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the trader says, pings answered."""
        while True:
            head = self._read(2)
            size = head[1] & 0x7F
            if size == 126:
                size = int.from_bytes(self._read(2), "big")
            elif size == 127:
                size = int.from_bytes(self._read(8), "big")
            mask = self._read(4)
            payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self._read(size)))
            match head[0] & 0x0F:
                case 1:  # TEXT
                    yield json.loads(payload)
                case 8:  # CLOSE
                    return
                case 9:  # PING
                    self.send(ws_frame(payload, PONG))

    def _read(self, size: int) -> bytes:
        while len(self._unread) < size:
            got = self._connection.recv(65_536)
            if not got:
                raise ConnectionError("the trader is gone")
            self._unread += got
        part, self._unread = self._unread[:size], self._unread[size:]
        return part

    def _shake_hands(self) -> str:
        request = b""
        while b"\r\n\r\n" not in request:
            request += self._connection.recv(65_536)
        lines = request.split(b"\r\n")
        key = next(line.split(b":", 1)[1].strip() for line in lines if line.lower().startswith(b"sec-websocket-key:"))
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self._connection.sendall(answer + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        return lines[0].split(b" ")[1].decode()


class Flood:
    """What is sent, how fast, and how much of it was."""

    def __init__(self, market_per_s: int, account_per_s: int, begin_s: float) -> None:
        self._market_per_s = market_per_s
        self._account_per_s = account_per_s
        self._begin_s = begin_s
        self._blobs = [market_blob(number) for number in range(4)]
        self._stop = threading.Event()
        self.sent = {"market": 0, "account": 0}

    def serve(self, connection: socket.socket) -> None:
        link = Link(connection)
        asked = False
        with suppress(OSError):
            for message in link.messages():
                account = link.path.startswith("/ws-api")
                result = {"status": 200, "result": {"subscriptionId": 0}} if account else {"result": None}
                link.send(ws_frame(json.dumps({"id": message["id"], **result}).encode()))
                if not asked:
                    asked = True
                    feed = self._feed_account if account else self._feed_market
                    threading.Thread(target=self._feeding, args=(feed, link), daemon=True).start()

    def end(self) -> None:
        self._stop.set()

    def _feeding(self, feed: Callable[[Link], None], link: Link) -> None:
        self._stop.wait(self._begin_s)  # until the trader has read its past
        with suppress(OSError):
            feed(link)

    def _feed_market(self, link: Link) -> None:
        number, began_s, sent = 0, time.monotonic(), 0
        while not self._stop.is_set():
            blob = self._blobs[number % len(self._blobs)]
            number += 1
            if self._market_per_s:  # in small parts, so that the rate is even
                parts = max(1, int(BLOB_FRAMES / (self._market_per_s * PULSE_S)))
                frames = _split(blob, parts)
            else:
                frames = [(blob, BLOB_FRAMES)]
            for part, count in frames:
                link.send(part)
                sent += count
                self.sent["market"] += count
                if self._market_per_s:
                    ahead_s = sent / self._market_per_s - (time.monotonic() - began_s)
                    if self._stop.wait(max(0.0, ahead_s)):
                        return

    def _feed_account(self, link: Link) -> None:
        began_s, sent = time.monotonic(), 0
        while not self._stop.is_set():
            sent += 1
            link.send(account_event(sent))
            self.sent["account"] = sent
            self._stop.wait(max(0.0, sent / self._account_per_s - (time.monotonic() - began_s)))


def _split(blob: bytes, parts: int) -> list[tuple[bytes, int]]:
    """Whole frames in so many parts, with the number of frames of each."""
    frames, at = [], 0
    while at < len(blob):
        size = blob[at + 1]
        end = at + 2 + size if size < 126 else at + 4 + int.from_bytes(blob[at + 2 : at + 4], "big")
        frames.append(blob[at:end])
        at = end
    step = -(-len(frames) // parts)
    groups = [frames[start : start + step] for start in range(0, len(frames), step)]
    return [(b"".join(group), len(group)) for group in groups]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--market-per-s", type=int, default=0, help="0: as many as are taken")
    parser.add_argument("--account-per-s", type=int, default=200)
    parser.add_argument("--begin-s", type=float, default=3.0)
    asked = parser.parse_args()
    flood = Flood(asked.market_per_s, asked.account_per_s, asked.begin_s)
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, lambda *_: ended.set())
    threading.Thread(target=_accept, args=(listener, flood), daemon=True).start()
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    ended.wait()
    flood.end()
    time.sleep(0.2)
    print(json.dumps({"sent": flood.sent}), flush=True)


def _accept(listener: socket.socket, flood: Flood) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=flood.serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
