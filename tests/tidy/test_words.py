"""Words that would promise more than there is."""

from __future__ import annotations

import ast
import re

import pytest

from surefoot.config import Settings
from tests.tidy.tree import ROOT, SOURCE, modules

# A score is the strength of a rule. Called a confidence or a chance, it would be believed.
PROMISES = re.compile(r"\b(confidence|likelihood|certainty)\b", re.IGNORECASE)


@pytest.mark.spec("SIG-3")
def test_a_score_is_called_a_rule_score_where_it_is_set_and_never_a_confidence() -> None:
    described = {
        f"{section}.{name}": setting.description or ""
        for section, field in Settings.model_fields.items()
        for name, setting in getattr(field.annotation, "model_fields", {}).items()
        if name.startswith("score_min")
    }
    assert len(described) == 3
    assert all("rule score" in text for text in described.values()), described
    for file, tree in (*modules(SOURCE / "surefoot" / "signals"), *modules(SOURCE / "surefoot" / "core")):
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        assert not {name for name in names if PROMISES.search(name.replace("_", " "))}, file.name
    for text in (ROOT / "README.md", *sorted((SOURCE / "surefoot" / "signals").glob("*.py"))):
        assert not PROMISES.search(text.read_text()), text.name
