"""Which test shows which requirement: `make trace` prints the table, holes included.

A test claims a requirement with `@pytest.mark.spec("ORD-3")`, on a function, a class or as the module's `pytestmark`.
The claims are read from the source, not from a test run, so that the table is there even where the tests are not.
The requirements are those of `docs/requirements.txt`, one a line: id, blank, title.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "docs" / "requirements.txt"


@dataclass(frozen=True, slots=True)
class Claim:
    """A test says that it shows a requirement. `requirement` is None where the marker holds something but text."""

    requirement: str | None
    test: str


def requirements(listing: Path = REQUIREMENTS) -> dict[str, str]:
    """Titles by id, in the order of the specification."""
    lines = [line for line in listing.read_text().splitlines() if line and not line.startswith("#")]
    return {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in lines}


def claims(tests: Path = ROOT / "tests") -> list[Claim]:
    """Every claim of every test file under a folder, in the order of paths and lines."""
    return [claim for file in sorted(tests.rglob("test_*.py")) for claim in claims_of(file, tests.parent)]


def claims_of(file: Path, root: Path) -> Iterator[Claim]:
    """The claims of one file; tests are named as pytest does, `path::Class::test`."""
    path = file.relative_to(root).as_posix()
    yield from _claims_in(ast.parse(file.read_text()).body, path)


def table(known: dict[str, str], claimed: Sequence[Claim]) -> str:
    """The printed table: a line a requirement, its tests below it, and the sum of both at the end."""
    tests = defaultdict(list)
    for claim in claimed:
        tests[claim.requirement].append(claim.test)
    lines = []
    for requirement, title in known.items():
        mark = f"{len(tests[requirement]):>4}" if tests[requirement] else "HOLE"
        lines.append(f"{requirement:<8} {mark}  {title}")
        lines += [f"{'':<15}{test}" for test in tests[requirement]]
    shown = sum(1 for requirement in known if tests[requirement])
    lines.append(f"\n{len(known)} requirements: {shown} shown by a test, {len(known) - shown} holes")
    return "\n".join(lines)


def _claims_in(body: Sequence[ast.stmt], name: str) -> Iterator[Claim]:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _claims_at(node.decorator_list, f"{name}::{node.name}")
            case ast.ClassDef():
                yield from _claims_at(node.decorator_list, f"{name}::{node.name}")
                yield from _claims_in(node.body, f"{name}::{node.name}")
            case ast.Assign() | ast.AnnAssign():
                yield from _claims_at([node], name)


def _claims_at(nodes: Sequence[ast.AST], name: str) -> Iterator[Claim]:
    for call in (found for node in nodes for found in ast.walk(node)):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("mark.spec"):
            for argument in call.args:
                text = argument.value if isinstance(argument, ast.Constant) else None
                yield Claim(text if isinstance(text, str) else None, name)


if __name__ == "__main__":
    print(table(requirements(), claims()))
