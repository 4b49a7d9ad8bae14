"""The dashboard's types are made from the API's description: a change of one without the other fails here."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from surefoot.api.schema import main

DASHBOARD = Path(__file__).parents[2] / "dashboard"


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_types", DASHBOARD / "make_types.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.spec("API-1", "UI-1")
def test_the_types_of_the_page_are_those_of_the_api(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    kept = (DASHBOARD / "src" / "lib" / "schema.ts").read_text()
    hint = "python -m surefoot.api.schema | python dashboard/make_types.py > dashboard/src/lib/schema.ts"
    assert maker().typescript(json.loads(capsys.readouterr().out)) == kept, f"they drifted: {hint}"


@pytest.mark.spec("API-1")
def test_every_kind_of_schema_has_its_type() -> None:
    ask: dict[str, Any] = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}, "b": {}}}
    tell: dict[str, Any] = {
        "type": "object",
        "properties": {
            "one-of": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "pairs": {"type": "array", "items": {"type": "array", "prefixItems": [{"type": "string"}, {"enum": [1]}]}},
            "by_name": {"type": "object", "additionalProperties": {"type": "number"}},
            "asked": {"$ref": "#/components/schemas/Ask_it_"},
        },
    }

    def json_of(schema: object) -> dict[str, Any]:
        return {"content": {"application/json": {"schema": schema}}}

    made = maker().typescript(
        {
            "components": {"schemas": {"Ask_it_": ask, "Tell": tell}},
            "paths": {
                "/api/v1/x/{id}": {
                    "post": {
                        "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
                        "requestBody": json_of({"$ref": "#/components/schemas/Ask_it_"}),
                        "responses": {"201": json_of({"$ref": "#/components/schemas/Tell"}), "422": json_of({})},
                    }
                }
            },
        }
    )
    for line in (
        "export interface AskIt {\n  a: number;\n  b?: unknown;\n}",
        '  "one-of": string | null;\n',
        "  pairs: [string, 1][];\n",
        "  by_name: Record<string, number>;\n",
        "  asked: AskIt;\n",
        "  '/x/{id}': { query: { id: string }; body: AskIt; answer: Tell };\n",
    ):
        assert line in made
