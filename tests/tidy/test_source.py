"""House rules about the source: messages are in their unions, settings are read, machines are plain Python.

What the import linter can say is said there (pyproject.toml); here stands what it cannot: "nothing but the standard
library", without a list of everything else.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from pydantic import BaseModel

from surefoot import config, presets, sections, settings
from surefoot.core import messages
from tests.tidy.tree import ROOT, SOURCE, module_name, modules

# Parts of messages: dataclasses of messages.py that are neither an event nor a command by themselves. Each is named
# here on purpose, so that a forgotten member of a union cannot pass for a part.
PARTS_OF_MESSAGES: frozenset[str] = frozenset()

# What drives the simulated exchange or reads files for it; all else in simex is the machine.
DRIVERS_OF_SIMEX = {"__main__", "admin", "cli", "link", "market", "pause", "relay", "relaysource", "server", "tapefile"}


def dataclasses_of(module: ModuleType) -> set[type]:
    """The dataclasses that a module itself defines."""
    classes = inspect.getmembers(module, inspect.isclass)
    return {kind for _, kind in classes if dataclasses.is_dataclass(kind) and kind.__module__ == module.__name__}


def settings_of(module: ModuleType) -> set[str]:
    """Names of all fields of the settings models that a module defines."""
    models = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, BaseModel)]
    return {field for model in models if model.__module__ == module.__name__ for field in model.model_fields}


def attributes_read(*, outside: Sequence[ModuleType]) -> set[str]:
    """Every attribute name that the bot's source reads, except in some modules."""
    left_out = {Path(module.__file__ or "") for module in outside}
    trees = [tree for file, tree in modules(SOURCE / "surefoot") if file not in left_out]
    nodes = (node for tree in trees for node in ast.walk(tree))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


def foreign_imports(tree: ast.Module, own: str) -> list[str]:
    """What a file imports that is neither of its own package nor of the standard library."""
    outside = [name for name in imports_of(tree) if name != own and not name.startswith(f"{own}.")]
    return [name for name in outside if name.split(".")[0] not in sys.stdlib_module_names]


def imports_of(tree: ast.Module) -> Iterator[str]:
    """Dotted names of all modules that a file imports, wherever in it."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                assert node.level == 0, "a relative import hides where it leads"
                yield node.module or ""


def test_every_message_is_an_event_or_a_command_and_never_both() -> None:
    events, commands = set(get_args(messages.Event)), set(get_args(messages.Command))
    parts = {kind for kind in dataclasses_of(messages) if kind.__name__ in PARTS_OF_MESSAGES}
    assert events
    assert commands
    assert not events & commands
    assert not parts & (events | commands)
    assert dataclasses_of(messages) == events | commands | parts


def test_every_message_is_frozen_slotted_and_says_when() -> None:
    for kind in get_args(messages.Event) + get_args(messages.Command):
        assert kind.__dataclass_params__.frozen, kind
        assert "__slots__" in vars(kind), kind
        assert dataclasses.fields(kind)[0].name == "at_ms", kind


@pytest.mark.spec("CFG-3")
def test_every_setting_is_read_somewhere() -> None:
    found = settings_of(settings) | settings_of(sections)
    assert found
    chosen_by = {key.rpartition(".")[2] for key in presets.CHOICES}  # read by their keys, see `presets.filled_in`
    assert not found - attributes_read(outside=[config, settings, sections]) - chosen_by


def test_the_core_imports_itself_and_the_standard_library_only() -> None:
    for file, tree in modules(SOURCE / "surefoot" / "core"):
        assert not foreign_imports(tree, "surefoot.core"), module_name(file)


@pytest.mark.spec("SIM-4")
def test_the_simulated_exchange_imports_itself_and_the_standard_library_only() -> None:
    for file, tree in modules(SOURCE / "simex"):
        if file.stem not in DRIVERS_OF_SIMEX:
            assert not foreign_imports(tree, "simex"), module_name(file)


@pytest.mark.spec("SIM-4")
def test_the_simulated_exchange_shares_no_code_with_the_bot() -> None:
    for file, tree in modules(SOURCE / "simex"):
        assert not [name for name in imports_of(tree) if name.split(".")[0] == "surefoot"], module_name(file)


def test_importing_a_package_runs_nothing() -> None:
    # An import contract sees what a module imports, not what its package's __init__ brings along.
    for file in sorted(SOURCE.rglob("__init__.py")):
        names = list(imports_of(ast.parse(file.read_text())))
        assert set(names) <= {"__future__"}, file.relative_to(ROOT)
