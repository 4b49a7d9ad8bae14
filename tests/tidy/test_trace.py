"""The table of requirements and tests: every claim names a requirement that exists, and holes are seen."""

from __future__ import annotations

from pathlib import Path

from tests.trace import Claim, claims, claims_of, requirements, table


def test_every_claim_names_a_requirement_that_exists() -> None:
    known = requirements()
    unknown = [claim for claim in claims() if claim.requirement not in known]
    assert not unknown


def test_every_promise_that_outranks_the_rest_is_listed() -> None:
    assert {f"SAFE-{number}" for number in range(1, 10)} <= requirements().keys()
    assert len(requirements()) > 100


def test_claims_of_functions_classes_and_modules_are_found(tmp_path: Path) -> None:
    file = tmp_path / "test_example.py"
    file.write_text(
        "pytestmark = pytest.mark.spec('A-1')\n"
        "@pytest.mark.spec('A-2', 'A-3')\n"
        "async def test_one(): ...\n"
        "@pytest.mark.spec('A-4')\n"
        "class TestTwo:\n"
        "    @pytest.mark.spec(name)\n"
        "    def test_three(self): ...\n"
        "@pytest.mark.parametrize('x', [pytest.param(1, marks=pytest.mark.spec('A-5'))])\n"
        "def test_four(x): ...\n"
    )
    assert list(claims_of(file, tmp_path)) == [
        Claim("A-1", "test_example.py"),
        Claim("A-2", "test_example.py::test_one"),
        Claim("A-3", "test_example.py::test_one"),
        Claim("A-4", "test_example.py::TestTwo"),
        Claim(None, "test_example.py::TestTwo::test_three"),
        Claim("A-5", "test_example.py::test_four"),
    ]


def test_a_requirement_without_a_test_is_a_visible_hole() -> None:
    printed = table({"A-1": "shown", "A-2": "not shown"}, [Claim("A-1", "test_x.py::test_y")])
    assert [line.split() for line in printed.splitlines()] == [
        ["A-1", "1", "shown"],
        ["test_x.py::test_y"],
        ["A-2", "HOLE", "not", "shown"],
        [],
        ["2", "requirements:", "1", "shown", "by", "a", "test,", "1", "holes"],
    ]
