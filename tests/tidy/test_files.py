"""House rules about files: their names, what they may hold, and that the two lock files agree."""

from __future__ import annotations

import ast
import re
import sys

import pytest

from tests.tidy.tree import ROOT, SOURCE, kept_files, modules

BANNED_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "managers", "base", "misc"}
DATA_SUFFIXES = {".arrow", ".db", ".feather", ".gz", ".npy", ".npz", ".parquet", ".sqlite", ".zip", ".zst"}
LOCKS = ("requirements.lock", "requirements-dev.lock")
REFEREE_LOCK = "requirements-referee.lock"  # of an environment of its own
# Composed of two parts, since this file is itself one of those that are read.
MACHINE_PATH = re.compile("(?<![\\w./~-])/(?:" + "work|root|home" + ")/")


def pins(lock: str) -> set[str]:
    """Every `name==version ; marker` of a lock file."""
    return set(re.findall(r"^([\w.\[\]-]+==.+?)(?: \\)?$", (ROOT / lock).read_text(), re.MULTILINE))


def test_no_module_or_folder_has_a_name_that_says_nothing() -> None:
    python = [path.relative_to(ROOT) for path in kept_files() if path.suffix == ".py"]
    vague = [str(path) for path in python if BANNED_NAMES & {path.stem, *path.parent.parts}]
    assert python
    assert not vague


def test_every_source_module_says_what_it_is_for() -> None:
    silent = [
        str(file.relative_to(ROOT)) for file, tree in modules(SOURCE) if tree.body and not ast.get_docstring(tree)
    ]
    assert not silent


def test_no_market_data_is_kept_in_the_project() -> None:
    data = [str(path.relative_to(ROOT)) for path in kept_files() if DATA_SUFFIXES & set(path.suffixes)]
    assert not data


def test_no_kept_file_is_large() -> None:
    large = [str(path.relative_to(ROOT)) for path in kept_files() if path.stat().st_size > 500_000]
    assert not large


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    named = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in kept_files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if MACHINE_PATH.search(line)
    ]
    assert not named


@pytest.mark.parametrize("line", ["see /" + "root/notes", "DATA=/" + "work/data", '"/' + 'home/ann/x"'])
def test_the_search_for_machine_paths_finds_them(line: str) -> None:
    assert MACHINE_PATH.search(line)


@pytest.mark.parametrize("lock", [*LOCKS, REFEREE_LOCK])
def test_lock_file_holds_hashes_and_no_addresses(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert pins(lock)
    unhashed = [entry for entry in re.split(r"\n(?=[\w.-]+==)", text) if "--hash=sha256:" not in entry]
    assert not unhashed


def test_development_lock_holds_the_runtime_lock_pin_for_pin() -> None:
    runtime, development = (pins(lock) for lock in LOCKS)
    assert runtime < development


def test_this_python_is_one_that_the_project_promises() -> None:
    assert (3, 11) <= sys.version_info[:2] <= (3, 13)
