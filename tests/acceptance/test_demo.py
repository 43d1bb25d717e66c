"""`aragora-cp demo`: the first thing a newcomer sees."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_demo_prints_real_results_and_leaves_nothing(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    env = {name: value for name, value in os.environ.items() if not name.startswith("ARAGORA_CP_")}
    env |= {"TMPDIR": str(tmp_path), "PYTHONPATH": str(root)}
    ran = subprocess.run(
        [sys.executable, "-m", "aragora_cp.cli", "demo"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    parts = re.split(r"^(code\.review|search\.index|search\.query|debate\.run)  by ", ran.stdout, flags=re.M)
    shown = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert re.search(r"aragora_cp/\S+\.py:\d+ +(error|warning|info) +[A-Z]+\d+", shown["code.review"])
    assert re.search(r"[1-9]\d* documents indexed", shown["search.index"])
    assert re.search(r"1\. docs/architecture\.md.*score \d", shown["search.query"])
    assert re.search(r"Confidence 0\.[1-9]", shown["debate.run"])
    assert "Answer prefork" in shown["debate.run"]
    assert "round 2, debater 2" in shown["debate.run"]
    assert list(tmp_path.iterdir()) == []
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]
