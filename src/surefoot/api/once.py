"""Requests that act: with an `Idempotency-Key`, the same request is answered as the first time (see `kept`)."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from surefoot.api.guard import Shared
from surefoot.api.kept import Act, Answers, answer_of, body_of
from surefoot.api.shield import masked

KEY_LENGTH_MAX = 100


class Once:
    """One request: `answer` acts, once where it has a key."""

    def __init__(self, answers: Answers, key: str | None, request: str) -> None:
        self._answers = answers
        self._key = key
        self._request = request

    async def answer(self, name: str, act: Act, status: int = 200, *, lessens_risk: bool = False) -> Response:
        """What `act` returns, as JSON; for the user `name`. What only lessens risk is done whatever can be kept."""
        if self._key is None:
            return answer_of(body_of(await act(), status), status)
        return await self._answers.once(name, self._key, self._request, act, status, lessens_risk=lessens_risk)


Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=KEY_LENGTH_MAX,
        pattern="^[!-~]+$",
        description="The same key and request again: the first answer, and nothing is done twice.",
    ),
]


async def once_of(request: Request, parts: Shared, key: Key = None) -> Once:
    """How this request acts."""
    body = hashlib.sha256(without_secrets(await request.body())).hexdigest()
    return Once(parts.answers, key, f"{request.method} {request.url.path} {body}")


def without_secrets(body: bytes) -> bytes:
    """A body of which a fingerprint may be kept: a quick one of a password would tell it to who guesses for long."""
    try:
        said = json.loads(body)
        hidden = masked(said)
    except (ValueError, RecursionError):
        return body
    return body if hidden == said else json.dumps(hidden, sort_keys=True).encode()


ActOnce = Annotated[Once, Depends(once_of)]
