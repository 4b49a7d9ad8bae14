"""The README names commands, settings and files: all of them are there, and the example is the file that it shows."""

from __future__ import annotations

import re

import pytest

from surefoot.cli import app
from surefoot.config import Settings
from tests.tidy.tree import ROOT

TEXT = (ROOT / "README.md").read_text()


def commands() -> set[str]:
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    return known | {group.name for group in app.registered_groups if group.name}


@pytest.mark.spec("SAFE-9")
def test_every_command_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"(?:`|^|: )surefoot ([a-z]+)", TEXT, re.MULTILINE))
    assert named >= {"run", "backtest", "optimize", "breaker", "strategy", "data", "promote", "export"}
    assert not named - commands()


@pytest.mark.spec("SAFE-9")
def test_every_setting_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"`([a-z]+)\.([a-z_0-9]+)(?: = [^`]*)?`", TEXT))
    assert {("exits", "preset"), ("breaker", "preset"), ("orders", "unprotected_max_s")} <= named
    for section, name in named:
        field = Settings.model_fields.get(section)
        assert field is not None, f"{section}.{name}"
        assert name in getattr(field.annotation, "model_fields", {}), f"{section}.{name}"


@pytest.mark.spec("SAFE-9", "SIG-7")
def test_the_strategy_shown_is_the_example_file() -> None:
    shown = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert shown is not None
    code = shown[1].strip()
    assert code in (ROOT / "examples" / "ma_cross.py").read_text()
    assert len(code.splitlines()) < 30


@pytest.mark.spec("SAFE-9")
def test_every_file_that_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]
