"""Who somebody is and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """Each may do what those before it may: look; trade; manage users."""

    VIEWER = "viewer"
    TRADER = "trader"
    ADMIN = "admin"

    def covers(self, other: Role) -> bool:
        return _ORDER[self] >= _ORDER[other]


_ORDER = {role: place for place, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Person:
    """Who makes a request. `confirmed`: has given the second factor, or the password, again in the last minutes.

    `confirmed_until_ms` is 0 for who never has. `second_factor`: has one that counts.
    """

    name: str
    role: Role
    session_id: str
    confirmed: bool
    confirmed_until_ms: int
    second_factor: bool
