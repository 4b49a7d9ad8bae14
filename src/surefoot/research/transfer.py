"""Files and JSON by HTTP GET, with patience: the only place of research that speaks to the network.

Reads may be repeated: 3 tries, 1 s apart at first, then twice as long, 30 s at most, a quarter more or less by chance;
after 429, 418, 5xx, time-outs and broken connections, never after another refusal. A transfer that breaks is continued
where it broke, and what arrived is believed only when its checksum says so.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import msgspec

from surefoot.research.candlefile import sha256_of

T = TypeVar("T")

CHUNK_BYTES = 1 << 16
ATTEMPTS_MAX = 20  # of one file, however many of them brought a part of it
TEXT_BYTES_MAX = 16 * 1024**2
PARTIAL, RANGE_IS_PAST_THE_END = 206, 416
WAIT_TOLD = (429, 418)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for what; NET-3 as default."""

    tries: int = 3
    base_s: float = 1.0
    cap_s: float = 30.0
    connect_s: float = 5.0
    silence_s: float = 30.0  # between two pieces of an answer
    told_max_s: float = 900.0  # the longest wait that a venue may ask for; a longer one is a ban, and an error


class TransferError(Exception):
    """Something could not be fetched, in one line: from where, why, and what to do."""


class Refused(TransferError):
    """The venue says no, and would again."""


class Missing(Exception):
    """404: the venue does not have it."""


class _Again(Exception):
    """This try failed in a way that another may not; `told_s` is how long the venue wants to be left alone."""

    def __init__(self, what: str, told_s: float = 0.0) -> None:
        super().__init__(what)
        self.told_s = told_s


@dataclass(slots=True)
class Transfer:
    """One pool of connections; use as an async context manager. `say` is told of every wait and repetition."""

    say: Callable[[str], None]
    patience: Patience = field(default_factory=Patience)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random
    _http: aiohttp.ClientSession | None = None
    _quiet_until_s: float = 0.0

    async def __aenter__(self) -> Transfer:
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self.patience.connect_s, sock_read=self.patience.silence_s
        )
        # Whole bytes as they are stored: a checksum is of the archive, not of what is in it.
        self._http = aiohttp.ClientSession(timeout=timeout, headers={"Accept-Encoding": "identity"})
        # aiohttp would repeat a GET by itself when a connection drops; here every try is counted.
        self._http._retry_connection = False
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._http is not None
        await self._http.close()

    async def json(self, url: str, params: dict[str, str]) -> tuple[Any, dict[str, str]]:
        """The decoded answer and its headers, names in lower case. Raises Missing or TransferError."""

        async def once() -> tuple[Any, dict[str, str]]:
            async with self._get(url, {}, params) as response:
                await self._judge(response)
                body = await _bounded(response)
                return msgspec.json.decode(body), {name.lower(): value for name, value in response.headers.items()}

        try:
            return await self._repeat(url, once)
        except msgspec.DecodeError:
            raise TransferError(f"{url}: the answer is not JSON; is this the right address?") from None

    async def file(self, url: str, target: Path) -> bool:
        """A file with its checksum beside it: true when it was fetched, false when it was there, whole.

        `target` appears only when the bytes are the right ones; `<target>.CHECKSUM` is kept with it, so that another
        run need not ask. Raises Missing or TransferError.
        """
        beside = target.with_name(f"{target.name}.CHECKSUM")
        if target.exists() and beside.exists() and _checksum(beside.read_text(), url) == sha256_of(target):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")

        async def once() -> None:
            told = await self._text(f"{url}.CHECKSUM")
            wanted = _checksum(told, url)
            await self._resume(url, part)
            if sha256_of(part) != wanted:
                part.unlink()
                raise _Again("its checksum is another one")
            beside.write_text(told)
            part.replace(target)

        await self._repeat(url, once, lambda: part.stat().st_size if part.exists() else 0)
        return True

    # -- one try ----------------------------------------------------------------------------------------------

    async def _text(self, url: str) -> str:
        async with self._get(url, {}, {}) as response:
            await self._judge(response)
            return (await _bounded(response)).decode("utf-8", errors="replace")

    async def _resume(self, url: str, part: Path) -> None:
        """Add to a partial file what it lacks; a server that does not continue sends all of it again."""
        have = part.stat().st_size if part.exists() else 0
        async with self._get(url, {"Range": f"bytes={have}-"} if have else {}, {}) as response:
            if response.status == RANGE_IS_PAST_THE_END:
                return  # nothing is lacking; the checksum says whether that is so
            await self._judge(response)
            continues = response.status == PARTIAL and response.headers.get("Content-Range", "").startswith(
                f"bytes {have}-"
            )
            with part.open("ab" if continues else "wb") as file:
                async for piece in response.content.iter_chunked(CHUNK_BYTES):
                    file.write(piece)

    def _get(self, url: str, headers: dict[str, str], params: dict[str, str]) -> Any:
        assert self._http is not None
        return self._http.get(url, headers=headers, params=params)

    async def _judge(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status < 300:
            return
        if status == 404:
            raise Missing(str(response.url))
        if status in WAIT_TOLD or status >= 500:
            raise _Again(f"the answer is {status}", _told_s(response.headers.get("Retry-After", "")))
        body = (await response.content.read(300)).decode("utf-8", errors="replace")
        hint = "; the venue may not serve your region" if status in (403, 451) else ""
        raise Refused(f"{response.url}: refused with {status}: {' '.join(body.split()) or 'no reason given'}{hint}")

    # -- tries ------------------------------------------------------------------------------------------------

    async def _repeat(self, url: str, once: Callable[[], Awaitable[T]], have: Callable[[], int] = lambda: 0) -> T:
        """Until it succeeds or the tries are used up; one that brought bytes does not count."""
        failed = 0
        for _ in range(ATTEMPTS_MAX):
            before = have()
            try:
                await self._wait_for_quiet()
                return await once()
            except _Again as problem:
                why, told_s = str(problem), problem.told_s
            except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
                raise TransferError(f"{url}: is no address; give one like https://example.com") from None
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as problem:
                why, told_s = str(problem) or type(problem).__name__, 0.0
            except OSError as problem:
                raise TransferError(f"{problem.filename or url}: {problem.strerror or problem}") from None
            failed = 1 if have() > before else failed + 1
            if failed >= self.patience.tries:
                break
            await self._pause(url, why, told_s, failed)
        raise TransferError(f"{url}: {why}; {self.patience.tries} tries failed. What is complete is kept, run it again")

    async def _pause(self, url: str, why: str, told_s: float, failed: int) -> None:
        if told_s > self.patience.told_max_s:
            raise TransferError(f"{url}: {why}, and it wants to be left alone for {told_s:.0f} s; try again then")
        wait_s = min(self.patience.cap_s, self.patience.base_s * 2 ** (failed - 1)) * (0.75 + 0.5 * self.chance())
        if told_s > wait_s:  # what the venue tells one request is meant for all of them
            wait_s = told_s
            self._quiet_until_s = max(self._quiet_until_s, time.monotonic() + told_s)
        self.say(f"{url}: {why}; again in {wait_s:.0f} s")
        await self.sleep(wait_s)

    async def _wait_for_quiet(self) -> None:
        left_s = self._quiet_until_s - time.monotonic()
        if left_s > 0:
            await self.sleep(left_s)


def server_ms(headers: dict[str, str]) -> int | None:
    """The other side's clock, to the second; None when it does not tell."""
    try:
        return int(parsedate_to_datetime(headers["date"]).timestamp() * 1000)
    except (KeyError, ValueError):
        return None


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = await response.content.read(TEXT_BYTES_MAX)
    while not response.content.at_eof():
        more = await response.content.read(TEXT_BYTES_MAX)
        body += more
        if len(body) > TEXT_BYTES_MAX:
            raise TransferError(f"{response.url}: longer than {TEXT_BYTES_MAX} bytes; is this the right address?")
    return body


def _told_s(text: str) -> float:
    return float(text) if text.strip().isdigit() else 0.0


def _checksum(text: str, url: str) -> str:
    """The first word of `<sha256>  <name>`."""
    word = (text.split() or [""])[0].lower()
    if len(word) != 64 or not set(word) <= set("0123456789abcdef"):
        raise TransferError(f"{url}.CHECKSUM: holds no SHA-256; is this the address of the archives?")
    return word
