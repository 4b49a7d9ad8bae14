"""The API as an OpenAPI document: `python -m surefoot.api.schema` prints it; types of the dashboard are made from it.

The values of the stream's topics stand in it too, as the schema `Topics`: OpenAPI has no word for a socket.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from surefoot.api.guard import OPEN
from surefoot.api.problems import MEDIA_TYPE
from surefoot.api.records import JournalItem
from surefoot.api.topics import Connection, Status
from surefoot.core.messages import RecordAlarm, RecordDecision
from surefoot.core.model import RoundTrip
from surefoot.core.view import BreakerView, OrderView, PositionView, PriceView

if TYPE_CHECKING:
    from fastapi import FastAPI

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "Why a request was refused (RFC 9457). `code` stays the same from version to version.",
    "required": ["type", "title", "status", "detail", "code", "instance"],
    "properties": {"type": TEXT, "title": TEXT, "status": NUMBER, "detail": TEXT, "code": TEXT, "instance": TEXT},
}
REFUSED = {
    "description": "Refused, and why",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_REFERENCE = re.compile(r'"#/components/schemas/([^"]+)"')
NOT_OURS = ("HTTPValidationError", "ValidationError")


@dataclass(frozen=True, slots=True)
class RecordsBegin:
    """What a snapshot says of records: those after `last_seq` of this journal follow; `missed` when some before were
    not sent."""

    journal: str | None
    last_seq: int
    missed: bool


@dataclass(frozen=True, slots=True)
class Topics:
    """The values of the stream's topics. In a snapshot `records` is a RecordsBegin, in an update a list of records.
    What is not known is null, and `problem` of `status` says why."""

    status: Status
    prices: tuple[PriceView, ...] | None
    positions: tuple[PositionView, ...] | None
    orders: tuple[OrderView, ...] | None
    decisions: tuple[RecordDecision, ...] | None
    alarms: tuple[RecordAlarm, ...] | None
    breaker: BreakerView | None
    connection: Connection
    round_trips: tuple[RoundTrip, ...] | None
    records: tuple[JournalItem, ...] | RecordsBegin


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an app."""
    made = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for name in NOT_OURS:
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM
    topics = TypeAdapter(Topics).json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
    schemas.update(topics.pop("$defs"))
    schemas["Topics"] = topics
    made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    said = _said_by_clients(made)
    for name, schema in schemas.items():
        if name not in said and "properties" in schema:  # what we tell is told whole
            schema["required"] = list(schema["properties"])
    for path, operations in made["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = REFUSED
            operation["security"] = [] if path in OPEN else [{"token": []}]
    return made


def _said_by_clients(made: dict[str, Any]) -> set[str]:
    """Names of the schemas of bodies."""
    schemas, found = made["components"]["schemas"], set[str]()
    operations = [operation for each in made["paths"].values() for operation in each.values()]
    bodies = json.dumps([operation.get("requestBody") for operation in operations])
    new = set(_REFERENCE.findall(bodies))
    while new:
        found |= new
        new = {name for known in new for name in _REFERENCE.findall(json.dumps(schemas[known]))} - found
    return found


def main() -> int:
    """Print the document of the app as it is served."""
    from surefoot.api.app import create_app
    from surefoot.api.parts import Parts
    from surefoot.config import load

    with TemporaryDirectory() as folder:
        settings = load(None, {"store.journal_path": str(Path(folder) / "surefoot.sqlite")}, {}).settings
        parts = Parts.made(settings)
        try:
            json.dump(document(create_app(parts)), sys.stdout, indent=1, sort_keys=True, ensure_ascii=False)
        finally:
            parts.close()
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
