"""What the documents say is so."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from aragora_cp import why
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import LEGAL_MOVES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_every_setting_is_documented_with_its_default() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (?:`([^`]*)`|\((empty)\)) \|", (DOCS / "reference/configuration.md").read_text(), re.M
    )
    documented = {name: "" if empty else default for name, default, empty in rows}
    assert documented == {f.name: str(f.default) for f in dataclasses.fields(ControlPlaneConfig)}


def test_the_picture_of_the_states_shows_the_legal_moves() -> None:
    text = (DOCS / "architecture.md").read_text()
    drawn = set(re.findall(r"^  ([A-Z]+) --> ([A-Z]+):", text, re.M))
    assert drawn == {(source.value, to.value) for source, targets in LEGAL_MOVES.items() for to in targets}


def test_the_quickstart_shows_the_script_that_a_test_runs() -> None:
    page, script = (DOCS / "quickstart" / name for name in ("index.md", "coordinator.py"))
    assert f"```python\n{script.read_text()}```" in page.read_text()


def test_every_reason_to_wait_is_documented() -> None:
    told = set(re.findall(r"^\| `([a-z-]+)` \|", (DOCS / "how-to/why-is-it-waiting.md").read_text(), re.M))
    assert told == set(re.findall(r'Reason\(\s*"([a-z-]+)"', Path(why.__file__).read_text())) | set(why.PAUSES)


@pytest.mark.parametrize("page", sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")]), ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
