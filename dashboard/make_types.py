"""The page's types, made from the API's own description so that the two cannot drift.

python -m surefoot.api.schema | python dashboard/make_types.py > dashboard/src/lib/schema.ts
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

PREFIX = "/api/v1"
METHODS = ("get", "post", "patch", "delete")
SIMPLE = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
HEAD = "// Made from the API's description by make_types.py; not to be changed by hand.\n"

Schema = Mapping[str, Any]


def typescript(document: Schema) -> str:
    """Every schema as a type, and for each method the routes with what they are asked and what they answer."""
    schemas: Mapping[str, Schema] = document["components"]["schemas"]
    operations = [
        (method, path.removeprefix(PREFIX), operation)
        for path, operations in sorted(document["paths"].items())
        for method, operation in operations.items()
        if method in METHODS
    ]
    asked = _reached([_body(operation) for _, _, operation in operations], schemas)
    parts = [HEAD]
    for name, schema in sorted(schemas.items()):
        parts.append(f"export {_declared(_name(name), schema, name in asked)}\n")
    for method in METHODS:
        lines = [
            f"  '{path}': {{ query: {_query(operation)}; body: {_type(_body(operation), is_asked=True)}; "
            f"answer: {_type(_answer(operation))} }};\n"
            for each, path, operation in operations
            if each == method
        ]
        parts.append(f"export interface {method.capitalize()} {{\n{''.join(lines)}}}\n")
    return "\n".join(parts)


def _name(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name))


def _declared(name: str, schema: Schema, is_asked: bool) -> str:
    if schema.get("type") != "object" or "properties" not in schema:
        return f"type {name} = {_type(schema, is_asked=is_asked)};"
    lines = []
    for field, inner in schema["properties"].items():
        # What an answer has a default for is in it all the same; what is asked may leave it out.
        optional = "?" if is_asked and field not in schema.get("required", ()) else ""
        lines.append(f"  {_key(field)}{optional}: {_type(inner, is_asked=is_asked)};\n")
    return f"interface {name} {{\n{''.join(lines)}}}"


def _key(field: str) -> str:
    return field if re.fullmatch(r"[A-Za-z_]\w*", field) else json.dumps(field)


def _type(schema: Schema | None, *, is_asked: bool = False) -> str:
    if schema is None:
        return "undefined"
    if "$ref" in schema:
        return _name(schema["$ref"].rpartition("/")[2])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " | ".join(dict.fromkeys(_type(inner, is_asked=is_asked) for inner in schema[union]))
    kind = schema.get("type")
    if kind == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(_type(inner, is_asked=is_asked) for inner in schema['prefixItems'])}]"
        inner = _type(schema.get("items", {}), is_asked=is_asked)
        return f"({inner})[]" if " | " in inner else f"{inner}[]"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"Record<string, {_type(inner, is_asked=is_asked) if isinstance(inner, dict) else 'unknown'}>"
    return SIMPLE.get(str(kind), "unknown")


def _query(operation: Schema) -> str:
    fields = [
        f"{_key(each['name'])}{'' if each.get('required') else '?'}: {_type(each['schema'], is_asked=True)}"
        for each in operation.get("parameters", ())
        if each["in"] in ("query", "path")
    ]
    return f"{{ {'; '.join(fields)} }}" if fields else "undefined"


def _body(operation: Schema) -> Schema | None:
    content = operation.get("requestBody", {}).get("content", {})
    found: Schema | None = content.get("application/json", {}).get("schema")
    return found


def _answer(operation: Schema) -> Schema | None:
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            found: Schema | None = answer.get("content", {}).get("application/json", {}).get("schema")
            return found
    return None


def _reached(roots: list[Schema | None], schemas: Mapping[str, Schema]) -> set[str]:
    found: set[str] = set()
    waiting = [name for root in roots for name in _references(root)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _references(schemas[name])
    return found


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "$ref" in value:
            yield value["$ref"].rpartition("/")[2]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


if __name__ == "__main__":
    sys.stdout.write(typescript(json.load(sys.stdin)))
