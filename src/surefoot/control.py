"""The trader's local socket: whoever may read the journal may look at what the engine knows, and ask it for something.

Rules. The socket is a file beside the journal, for its owner only, and no network port. A client writes one line:
`view` is answered with one picture, `watch` with one every quarter of a second until the client leaves; each picture is
a line of JSON, decimals as text. `candles SYMBOL INTERVAL [LIMIT]` is answered with the newest closed candles that the
trader holds of a series, as a line of JSON: its signals are made from them. Looking costs the trader the making of an
answer and nothing else: it never waits for a client, and one that does not read is dropped.

`request {"kind": "pause", "reason": "..."}` asks for something; `kind` is one of `KINDS`. It is answered with one line
of JSON when the engine has taken it and the journal has it on disk. Who may ask: the file's mode (0600) lets in its
owner, and root; that is the authentication. Who asked: the user of the process at the other end, as the system says.

`signed MAC {"by": "ada", "at_ms": ..., "nonce": "...", "wish": {...}}` asks on behalf of somebody whom the web process
knows. MAC is the HMAC-SHA256 of all that follows it, byte for byte, in hexadecimal, with a key that `surefoot run`
makes at each start for these two processes. One that is wrong, old, or was heard before is refused.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import pwd
import secrets
import socket
import stat
import struct
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path

import msgspec

from surefoot.core.messages import (
    BreakerResetRequested,
    CancelAllRequested,
    CloseRequested,
    FlattenRequested,
    KillRequested,
    LiveSwitched,
    OperatorEvent,
    PauseRequested,
    ResumeRequested,
)
from surefoot.core.model import Adoption, Candle
from surefoot.core.view import View

WATCH_EVERY_S = 0.25
REQUEST_WAIT_S = 5.0
SEND_WAIT_S = 2.0
UNREAD_BYTES_MAX = 1 << 20
CLIENTS_MAX = 16  # that look, at a time
ASKERS_MAX = 16  # that ask for something, besides: lookers never keep an operator out
VIEW_BYTES_MAX = 1 << 24
REASON_LENGTH_MAX = 500
ANSWER_WAIT_S = 10.0
ASK_WAIT_S = 9.0  # before who asked gives up
CANDLES_MAX = 500

CONTROL_KEY = "SUREFOOT_CONTROL_KEY"  # the variable that holds the key of signed wishes, in hexadecimal
KEY_BYTES_MIN = 16
SIGNED_AGE_MAX_MS = 30_000
NONCES_MAX = 10_000
NONCE_LENGTH_MAX = 64
NAME_LENGTH_MAX = 64

_OF_ALL: Mapping[str, Callable[[int, str, str], OperatorEvent]] = {
    "pause": PauseRequested,
    "resume": ResumeRequested,
    "flatten": FlattenRequested,
    "cancel-all": CancelAllRequested,
    "kill": KillRequested,
    "breaker-reset": BreakerResetRequested,
    "live-on": partial(LiveSwitched, on=True),
    "live-off": partial(LiveSwitched, on=False),
}
ADOPT_KINDS = tuple(f"adopt-{what}" for what in Adoption)  # of which the trader knows what it can book
LIVE_KINDS = ("live-on", "live-off")  # of a run with real money only
SETTINGS_KINDS = ("settings", "settings-check")
KINDS = (*_OF_ALL, "close", *ADOPT_KINDS, *SETTINGS_KINDS)
_REQUEST = b"request "
_SIGNED = b"signed "
_CANDLES = b"candles "
_PEER = struct.Struct("3i")  # of SO_PEERCRED: process, user, group

# What the address of a socket may hold on every system; Linux allows a few more.
ADDRESS_BYTES_MAX = 100


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator asks for; see `KINDS`. `symbol` is for `close` and `adopt-…`: of a transfer it is an asset,
    `amount` is then what came or went, or a position's quantity, `price` what it was closed or entered at.

    `settings` are for `settings`, and for `settings-check`, which needs no reason and only says what they would change:
    texts by dotted key; None takes back what was changed of a key.
    """

    kind: str
    reason: str
    symbol: str = ""
    settings: Mapping[str, str | None] = field(default_factory=dict)
    amount: Decimal | None = None
    price: Decimal | None = None

    @property
    def adoption(self) -> Adoption:
        """What an `adopt-…` is to take in."""
        return Adoption(self.kind.removeprefix("adopt-"))


@dataclass(frozen=True, slots=True)
class SignedWish:
    """A wish of `by`, whom the web process knows. `nonce` is never used twice, `at_ms` is UTC."""

    by: str
    at_ms: int
    nonce: str
    wish: Wish


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether the engine took the wish, and what there is to say about it.

    `changes` are the settings that differ by it, or would: old and new value, as the file would say them.
    """

    taken: bool
    text: str
    changes: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HeldCandles:
    """Closed candles, oldest first. Where there are none, `problem` says why; else it is empty."""

    candles: tuple[Candle, ...] = ()
    problem: str = ""


# What knows the newest candles of a symbol and interval, so many at most; None for a series that is not held.
Charts = Callable[[str, str, int], Sequence[Candle] | None]

# What takes a wish, and the name of who has it, to the engine.
Ask = Callable[[Wish, str], Awaitable[Answer]]

_ENCODER = msgspec.json.Encoder()
_WISH_DECODER = msgspec.json.Decoder(Wish)
_SIGNED_DECODER = msgspec.json.Decoder(SignedWish)
_ANSWER_DECODER = msgspec.json.Decoder(Answer)
_CANDLES_DECODER = msgspec.json.Decoder(HeldCandles)
_DECODER = msgspec.json.Decoder(View)


class ControlError(Exception):
    """The socket cannot be opened, or what came from it cannot be read; one line for a person."""


class TraderAway(ControlError):
    """Nobody listens at the socket, so that nobody heard what was asked."""


def socket_path(journal_path: Path) -> Path:
    """Where the trader that writes this journal listens."""
    return Path(f"{journal_path}.sock")


def encode_view(view: View) -> bytes:
    """One line of JSON, its end included."""
    return _ENCODER.encode(view) + b"\n"


def decode_view(line: bytes) -> View:
    """Raises ControlError for a picture of another program version."""
    try:
        return _DECODER.decode(line)
    except msgspec.DecodeError as problem:
        raise ControlError(f"the trader's answer cannot be read, it may be of another version: {problem}") from problem


def refusal_of(wish: Wish) -> str | None:
    """Why nobody should even be asked; None when the wish makes sense."""
    if wish.kind not in KINDS:
        return f"{wish.kind!r} is nothing that can be asked for: {', '.join(KINDS)}"
    if not wish.reason.strip() and wish.kind != "settings-check":
        return "a reason is needed: it is kept in the journal, for whoever looks at it later"
    if len(wish.reason) > REASON_LENGTH_MAX or not wish.reason.isprintable():
        return f"the reason must be one line of at most {REASON_LENGTH_MAX} characters"
    if wish.kind == "close" and not wish.symbol:
        return "close needs a symbol"
    if wish.kind in SETTINGS_KINDS and not wish.settings:
        return f"{wish.kind} needs settings"
    return _adopt_refusal(wish) if wish.kind in ADOPT_KINDS else None


def _adopt_refusal(wish: Wish) -> str | None:
    if not wish.symbol:
        return f"{wish.kind} needs a symbol, or an asset"
    if wish.amount is None and wish.adoption is Adoption.TRANSFER:
        return f"{wish.kind} needs an amount"
    if any(number is not None and (not number.is_finite() or not number) for number in (wish.amount, wish.price)):
        return "amount and price are numbers, and not 0"
    if wish.price is not None and wish.price < 0:
        return "no price is below 0"
    return None


def event_of(wish: Wish, who: str, at_ms: int) -> OperatorEvent:
    """What the engine hears of a wish that was not refused; settings and `adopt-…` the trader judges first."""
    if wish.kind == "close":
        return CloseRequested(at_ms, who, wish.reason, wish.symbol)
    return _OF_ALL[wish.kind](at_ms, who, wish.reason)


# -- signed wishes ----------------------------------------------------------------------------------------------------


def new_control_key() -> str:
    """A key for one run, as it goes into the variable `CONTROL_KEY` of trader and web process."""
    return secrets.token_hex(32)


def control_key(env: Mapping[str, str]) -> bytes | None:
    """The key in `CONTROL_KEY`; None where there is none. Raises ControlError for what cannot be one."""
    text = env.get(CONTROL_KEY, "")
    if not text:
        return None
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) < KEY_BYTES_MIN:
        raise ControlError(f"{CONTROL_KEY} is no key: at least {KEY_BYTES_MIN} bytes in hexadecimal are")
    return key


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs what a signed-in user asks for: `by` is their name, `key` that of `control_key`."""

    key: bytes
    by: str

    def line(self, wish: Wish) -> bytes:
        """The request, its end included."""
        signed = SignedWish(self.by, _now_ms(), secrets.token_hex(16), wish)
        body = _ENCODER.encode(signed)
        return _SIGNED + _mac(self.key, body) + b" " + body + b"\n"


class Seals:
    """Tells a signed wish from one that is forged, old or repeated. What was signed before it began is old."""

    def __init__(self, key: bytes, now_ms: int) -> None:
        self._key = key
        self._begun_ms = now_ms
        self._heard: dict[str, int] = {}  # nonces, and when they were signed

    def opened(self, request: bytes, now_ms: int) -> SignedWish:
        """What `MAC BODY` asks for. Raises ControlError where nobody should be asked."""
        mac, _, body = request.partition(b" ")
        if not hmac.compare_digest(mac, _mac(self._key, body)):
            raise ControlError("the signature is wrong")
        try:
            signed = _SIGNED_DECODER.decode(body)
        except msgspec.DecodeError as problem:
            raise ControlError(f"this request cannot be read: {problem}") from None
        self._heard = {nonce: at_ms for nonce, at_ms in self._heard.items() if now_ms - at_ms <= SIGNED_AGE_MAX_MS}
        if abs(now_ms - signed.at_ms) > SIGNED_AGE_MAX_MS or signed.at_ms < self._begun_ms:
            raise ControlError("this was signed too long ago, or before the trader began: ask again")
        if signed.nonce in self._heard:
            raise ControlError("this was heard before")
        if not 0 < len(signed.nonce) <= NONCE_LENGTH_MAX or len(self._heard) >= NONCES_MAX:
            raise ControlError("no nonce of one use, or too many requests at a time")
        if not 0 < len(signed.by.strip()) <= len(signed.by) <= NAME_LENGTH_MAX or not signed.by.isprintable():
            raise ControlError(f"the name of who asks must be one line of at most {NAME_LENGTH_MAX} characters")
        self._heard[signed.nonce] = signed.at_ms
        return signed


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256").hex().encode()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


# -- the trader's end -------------------------------------------------------------------------------------------------


class ControlServer:
    """Hands out pictures and takes wishes from inside the trader's own loop."""

    def __init__(
        self, path: Path, view: Callable[[], View], ask: Ask, charts: Charts, key: bytes | None = None
    ) -> None:
        """`path` is that of the socket, see `socket_path`; `view` makes a picture of now; `ask` asks the engine.

        `key` is that of signed wishes; without one they are refused.
        """
        self._path = path
        self._charts = charts
        self._seals = None if key is None else Seals(key, _now_ms())
        self._lookers = 0
        self._view = view
        self._ask = ask
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. A socket that a dead trader left is replaced; raises ControlError when the place cannot be used."""
        try:
            listener = _listener(self._path)
        except OSError as problem:
            raise ControlError(f"{self._path}: no socket can be opened here: {problem.strerror or problem}") from None
        self._server = await asyncio.start_unix_server(self._welcome, sock=listener)

    async def stop(self) -> None:
        """Leave all clients and take the socket away; harmless when it never started."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self._server = None
        with suppress(OSError):
            self._path.unlink()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) <= CLIENTS_MAX + ASKERS_MAX:
                await self._serve(reader, writer)
        except (OSError, TimeoutError, ValueError, asyncio.CancelledError):
            pass  # the client's end, not ours: gone, too slow, or it wrote no line
        finally:
            self._clients.discard(task)
            # What the client has not read by now is not worth waiting for.
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()
            else:
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not wait_for, which before Python 3.12 can swallow the cancellation that stop() relies on.
        async with asyncio.timeout(REQUEST_WAIT_S):
            request = (await reader.readline()).strip()
        if request in (b"view", b"watch"):
            if self._lookers < CLIENTS_MAX:
                await self._show(reader, writer, on_and_on=request == b"watch")
        elif request.startswith(_CANDLES):
            if self._lookers < CLIENTS_MAX:
                await self._send(writer, _ENCODER.encode(self._candles(request.decode().split()[1:])) + b"\n")
        elif request.startswith((_REQUEST, _SIGNED)):
            answer = await self._answer(request, _peer_name(writer))
            await self._send(writer, _ENCODER.encode(answer) + b"\n")

    def _candles(self, words: Sequence[str]) -> HeldCandles:
        symbol, interval, limit = (*words, str(CANDLES_MAX))[:3] if len(words) in (2, 3) else ("", "", "")
        if not limit.isdecimal() or not int(limit):
            return HeldCandles(problem="ask for candles SYMBOL INTERVAL, or candles SYMBOL INTERVAL LIMIT")
        held = self._charts(symbol, interval, min(int(limit), CANDLES_MAX))
        if held is None:
            return HeldCandles(problem=f"no candles of {symbol} {interval} are held")
        return HeldCandles(tuple(held))

    async def _show(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, on_and_on: bool) -> None:
        self._lookers += 1
        try:
            await self._send(writer, encode_view(self._view()))
            while on_and_on:
                with suppress(TimeoutError):
                    async with asyncio.timeout(WATCH_EVERY_S):
                        await reader.read(1)
                if reader.at_eof():
                    break
                await self._send(writer, encode_view(self._view()))
        finally:
            self._lookers -= 1

    async def _answer(self, request: bytes, peer: str) -> Answer:
        try:
            wish, who = self._wish_of(request, peer)
        except ControlError as problem:
            return Answer(False, str(problem))
        refusal = refusal_of(wish)
        if refusal:
            return Answer(False, refusal)
        try:
            async with asyncio.timeout(ASK_WAIT_S):
                return await self._ask(wish, who)
        except TimeoutError:
            return Answer(False, f"the trader did not answer within {ASK_WAIT_S:g} s: its journal says what it took")

    def _wish_of(self, request: bytes, peer: str) -> tuple[Wish, str]:
        """What is asked for, and who asks. Raises ControlError."""
        if request.startswith(_SIGNED):
            if self._seals is None:
                raise ControlError(f"this trader takes no signed requests: it was started without {CONTROL_KEY}")
            signed = self._seals.opened(request.removeprefix(_SIGNED), _now_ms())
            return signed.wish, f"{signed.by} (web)"
        try:
            return _WISH_DECODER.decode(request.removeprefix(_REQUEST)), peer
        except msgspec.DecodeError as problem:
            raise ControlError(f"this request cannot be read: {problem}") from None

    async def _send(self, writer: asyncio.StreamWriter, line: bytes) -> None:
        if writer.transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            raise TimeoutError
        writer.write(line)
        async with asyncio.timeout(SEND_WAIT_S):
            await writer.drain()


# -- the other end ----------------------------------------------------------------------------------------------------


def read_view(path: Path, timeout_s: float = 2.0) -> View | None:
    """The picture of now from the socket at `path`; None when no trader answers there within `timeout_s`.

    Raises ControlError for an answer of another version.
    """
    line = _asked(path, b"view\n", timeout_s)
    return decode_view(line) if line.endswith(b"\n") else None


async def read_candles(
    path: Path, symbol: str, interval: str, limit: int = CANDLES_MAX, timeout_s: float = 2.0
) -> HeldCandles:
    """The newest closed candles that the trader at `path` holds of a series, `CANDLES_MAX` at most.

    Raises ControlError when none answers within `timeout_s`, or one of another version.
    """
    line = await _asked_async(path, _CANDLES + f"{symbol} {interval} {limit}\n".encode(), timeout_s)
    if not line.endswith(b"\n"):
        raise ControlError(f"no trader answers at {path}: candles are held by one that is running")
    try:
        return _CANDLES_DECODER.decode(line)
    except msgspec.DecodeError as problem:
        raise ControlError(f"the trader's answer cannot be read, it may be of another version: {problem}") from problem


def ask_trader(path: Path, wish: Wish, timeout_s: float = ANSWER_WAIT_S, signer: Signer | None = None) -> Answer:
    """What the trader that listens at `path` says to a wish: our own, or with `signer` that of a signed-in user.

    Raises ControlError when none answers: then it is not known to have heard of it.
    """
    return _answer_of(_asked(path, _request(wish, signer), timeout_s), path, wish)


async def ask_trader_async(
    path: Path, wish: Wish, timeout_s: float = ANSWER_WAIT_S, signer: Signer | None = None
) -> Answer:
    """`ask_trader`, for a process that must not wait."""
    return _answer_of(await _asked_async(path, _request(wish, signer), timeout_s), path, wish)


def _request(wish: Wish, signer: Signer | None) -> bytes:
    return _REQUEST + _ENCODER.encode(wish) + b"\n" if signer is None else signer.line(wish)


def _answer_of(line: bytes, path: Path, wish: Wish) -> Answer:
    if not line:
        raise ControlError(f"no trader answers at {path}: {wish.kind} needs one that is running")
    try:
        return _ANSWER_DECODER.decode(line)
    except msgspec.DecodeError as problem:
        raise ControlError(f"the trader's answer cannot be read, it may be of another version: {problem}") from problem


async def watch_views(path: Path) -> AsyncGenerator[View, None]:
    """Pictures from the socket at `path` as they come; ends when the trader is not there or leaves."""
    try:
        with _address(path) as address:
            reader, writer = await asyncio.open_unix_connection(address, limit=VIEW_BYTES_MAX)
    except OSError:
        return
    try:
        writer.write(b"watch\n")
        while (line := await reader.readline()).endswith(b"\n"):
            yield decode_view(line)
    except OSError:
        return
    finally:
        writer.close()


def _asked(path: Path, request: bytes, timeout_s: float) -> bytes:
    """The line that answers a request, cut short when there is no whole one in time."""
    answer, deadline = b"", time.monotonic() + timeout_s
    with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout_s)
        with _address(path) as address:
            client.connect(address)
        client.sendall(request)
        while not answer.endswith(b"\n"):
            client.settimeout(max(deadline - time.monotonic(), 0.001))
            part = client.recv(1 << 16)
            if not part:
                break
            answer += part
    return answer


async def _asked_async(path: Path, request: bytes, timeout_s: float) -> bytes:
    """`_asked`, for a process that must not wait."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(timeout_s):
            try:
                with _address(path) as address:
                    reader, writer = await asyncio.open_unix_connection(address, limit=VIEW_BYTES_MAX)
            except (FileNotFoundError, ConnectionRefusedError):
                raise TraderAway(f"no trader answers at {path}: nobody listens there") from None
            try:
                writer.write(request)
                return await reader.readline()
            finally:
                writer.close()
    return b""


def _peer_name(writer: asyncio.StreamWriter) -> str:
    """The user at the other end; our own where the system does not tell, since nobody else may open the socket."""
    user = os.getuid()
    if hasattr(socket, "SO_PEERCRED"):
        told = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        user = _PEER.unpack(told)[1]
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def _listener(path: Path) -> socket.socket:
    # Only the holder of the journal's lock comes here, so that a socket found in this place has no owner any more.
    if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
        raise FileExistsError(0, "there is a file that is no socket")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        os.fchmod(listener.fileno(), 0o600)  # so that it is never open to others, not even until the next line
        with _address(path) as address:
            listener.bind(address)
        path.chmod(0o600)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """What to call the socket. A long path goes by way of its opened folder, where the system offers that."""
    if len(os.fsencode(path)) <= ADDRESS_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
