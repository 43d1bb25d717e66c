"""The table of decisions in the how-to is what the rules beside it decide."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aragora_cp.documents import Document
from aragora_cp.policy.engine import compile_documents, outcome
from tests.policies import request

PAGE = (Path(__file__).parents[3] / "docs/how-to/policies.md").read_text()
SOURCE = re.findall(r"```cedar\n(.*?)```", PAGE, re.DOTALL)[0]
ROWS = re.findall(
    r"^\| (submitter|operator) \| ([a-z ]+) \| (\w+) \| (allow|deny|hold) \| ([a-z/ -]+) \|$", PAGE, re.MULTILINE
)


def test_the_table_is_found() -> None:
    assert {row[3] for row in ROWS} == {"allow", "deny", "hold"}


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_every_row(row: tuple[str, str, str, str, str]) -> None:
    role, capabilities, priority, decision, rules = row
    compiled = compile_documents("acme", {"guard": Document("guard", SOURCE, (), "enforce")})
    assert compiled is not None
    asked = request(role=role, capabilities=capabilities.split(), priority=priority)
    effect, decided, _, _ = outcome(asked, [compiled.judge(asked)])
    assert (effect.value, sorted(decided)) == (decision, rules.split())
