"""What the tidy tests look at: the files that git keeps or would keep, and the source trees."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = ROOT / "src"


def kept_files() -> list[Path]:
    """Files of the project, committed or about to be; what .gitignore names is left out."""
    # The clone may belong to another user than the one who tests it; to read its list of files is safe all the same.
    listing = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [path for name in sorted(set(names.split("\0"))) if name and (path := ROOT / name).is_file()]


def modules(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    """The Python files of a folder, parsed."""
    for file in sorted(folder.rglob("*.py")):
        yield file, ast.parse(file.read_text(), filename=str(file))


def module_name(file: Path) -> str:
    """Dotted name of a source file: src/surefoot/core/model.py is surefoot.core.model."""
    return ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
