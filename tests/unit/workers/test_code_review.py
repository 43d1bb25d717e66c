import subprocess
import sys
import time
from pathlib import Path

import pytest

from workers import lint, structure
from workers.code_review import MOST_CHARACTERS, MOST_FILES, ReviewTooLargeError, review_diff, review_files
from workers.diffs import DiffError
from workers.findings import severity


def review(*files: tuple[str, str]) -> dict:
    return review_files(
        [{"path": path, "source": source} for path, source in files],
        deadline=time.time() + 60,
        progress=lambda percent, message: None,
    )


def review_change(diff: str) -> dict:
    return review_diff(diff, deadline=time.time() + 60, progress=lambda percent, message: None)


def rules(result: dict) -> list[tuple[str, int, str]]:
    return [(finding["file"], finding["line"], finding["rule"]) for finding in result["findings"]]


def test_findings_have_a_severity_and_stand_in_the_order_of_file_and_line() -> None:
    result = review(
        ("b.py", "import os\n\n\ndef f(a=[]):\n    return undefined(a)\n"),
        ("a.py", "x = 1\nassert (x, 'always true')\n"),
    )

    assert rules(result) == [
        ("a.py", 2, "F631"),
        ("a.py", 2, "S101"),
        ("b.py", 1, "F401"),
        ("b.py", 4, "B006"),
        ("b.py", 5, "F821"),
    ]
    assert result["findings"][4] == {
        "severity": "error",
        "file": "b.py",
        "line": 5,
        "rule": "F821",
        "message": "Undefined name `undefined`",
    }
    assert result["summary"] == {"error": 2, "warning": 3, "info": 0}
    assert (result["files"], result["skipped"], result["omitted"]) == (2, 0, 0)


def test_clean_code_has_no_findings() -> None:
    result = review(("a.py", '"""Doc."""\n\nANSWER = 42\n'))

    assert result["findings"] == []


def test_a_syntax_error_is_a_finding_with_its_line() -> None:
    result = review(("bad.py", "x = 1\ndef f(:\n"), ("good.py", "import os\n"))

    errors = [f for f in result["findings"] if f["rule"] == "invalid-syntax"]
    assert errors[0]["line"] == 2
    assert errors[0]["severity"] == "error"
    assert ("good.py", 1, "F401") in rules(result)


@pytest.mark.parametrize("path", ["../../../etc/cron.d/x.py", "/abs/olute.py", "a\\b\0c.py", "ü/日本.py", "-rf.py"])
def test_a_path_is_a_label_and_nothing_else(path) -> None:
    assert rules(review((path, "import os\n"))) == [(path, 1, "F401")]


def test_nothing_is_executed(tmp_path) -> None:
    trap = tmp_path / "trap"

    review(("a.py", f"open({str(trap)!r}, 'w').close()\n"), ("conftest.py", f"open({str(trap)!r}, 'w')\n"))

    assert not trap.exists()


def test_other_kinds_of_files_are_skipped_and_tests_may_assert() -> None:
    result = review(("README.md", "import"), ("tests/test_a.py", "def test_a():\n    assert 1\n"))

    assert (result["findings"], result["files"], result["skipped"]) == ([], 1, 1)


@pytest.mark.parametrize(
    "source",
    ["x = " + "-" * 20_000 + "1\n", "x" + ".a" * 30_000 + "\n", "(" * 5_000 + ")" * 5_000, "x = 1\0\n", "\ud800 = 1"],
    ids=["unary", "attributes", "brackets", "null", "surrogate"],
)
def test_hostile_sources_cost_no_other_file_its_review(source) -> None:
    result = review(("a.py", "import os\n"), ("hostile.py", source), ("z.py", "import os\n"))

    assert ("a.py", 1, "F401") in rules(result)
    assert ("z.py", 1, "F401") in rules(result)
    assert any(finding["file"] == "hostile.py" for finding in result["findings"])
    assert not any("\0" in finding["message"] for finding in result["findings"])


def test_a_review_is_bounded() -> None:
    with pytest.raises(ReviewTooLargeError):
        review(*[("a.py", "")] * (MOST_FILES + 1))
    with pytest.raises(ReviewTooLargeError):
        review(("a.py", "#" * (MOST_CHARACTERS + 1)))
    with pytest.raises(TimeoutError):
        review_files([{"path": "a.py", "source": ""}], deadline=time.time() - 1, progress=lambda *_: None)


def test_too_many_findings_are_counted_and_cut(monkeypatch) -> None:
    monkeypatch.setattr("workers.code_review.MOST_FINDINGS", 3)

    result = review(("a.py", "import os\n" * 10))

    assert len(result["findings"]) == 3
    assert result["omitted"] == sum(result["summary"].values()) - 3 > 0


def test_a_checker_that_cannot_run_is_an_error_of_the_agent(monkeypatch) -> None:
    monkeypatch.setattr(lint, "_ruff_command", lambda: [sys.executable, "-c", "raise SystemExit('no ruff here')"])

    with pytest.raises(lint.LintError, match="no ruff here"):
        review(("a.py", "x = 1\n"))


DIFF = """\
--- a/m.py
+++ b/m.py
@@ -20,5 +20,6 @@ class A:
             unused = missing
             c = 3
-            d = 4
+            d = eval(c)
+            e = c == None
         else:
             a = 2
--- /dev/null
+++ b/new.py
@@ -0,0 +1,2 @@
+import os
+x = undefined
--- a/notes.txt
+++ b/notes.txt
@@ -1 +1 @@
-a
+b
--- a/gone.py
+++ /dev/null
@@ -1 +0,0 @@
-a
"""


def test_a_diff_is_reviewed_where_it_adds_lines() -> None:
    result = review_change(DIFF)

    assert rules(result) == [
        ("m.py", 22, "S307"),
        ("m.py", 23, "E711"),
        ("new.py", 1, "F401"),
        ("new.py", 2, "F821"),
    ]
    assert (result["files"], result["skipped"]) == (2, 2)


def test_a_hunk_that_does_not_parse_is_judged_with_care() -> None:
    header = "--- a/m.py\n+++ b/m.py\n"
    broken = review_change(header + "@@ -4,2 +4,3 @@\n x = 1\n+def f(:\n y = 1\n")["findings"]
    in_a_call = review_change(header + "@@ -4,2 +4,3 @@\n     b)\n+y = x == None\n f(a,\n")["findings"]
    inside_text = review_change(header + "@@ -4,2 +4,3 @@\n some prose in\n+a docstring\n here\n")["findings"]

    assert [(f["severity"], f["line"], f["rule"]) for f in broken] == [("warning", 5, "invalid-syntax")]
    assert [(f["severity"], f["line"], f["rule"]) for f in in_a_call] == [("info", 5, "E711")]
    assert [(f["severity"], f["line"], f["rule"]) for f in inside_text] == [("info", 5, "CP001")]


def test_a_diff_must_be_one() -> None:
    with pytest.raises(DiffError):
        review_change("not a diff")


def tree_rules(source: str, whole: bool = True) -> list[tuple[int, str]]:
    checked = structure.check(source, whole=whole)
    assert checked is not None
    assert checked["syntax"] is None
    return [(line, rule) for line, rule, _ in checked["findings"]]


def test_statements_that_are_never_reached() -> None:
    source = "def f(x):\n    if x:\n        return 1\n        print(x)\n    raise ValueError\n    x = 2\n    x = 3\n"

    assert tree_rules(source) == [(4, "CP104"), (6, "CP104")]
    assert tree_rules("def f():\n    return\n    yield\n") == []


def test_functions_too_long_and_blocks_too_deep() -> None:
    long = "def f():\n" + "    x = 1\n" * structure.LONGEST_FUNCTION
    deep = "".join("    " * n + "if x:\n" for n in range(structure.DEEPEST_NESTING + 1)) + "    " * 6 + "pass\n"
    chain = "if x:\n    pass\n" + "elif x:\n    pass\n" * 20

    assert tree_rules(long) == [(1, "CP101")]
    assert tree_rules(deep) == [(structure.DEEPEST_NESTING + 1, "CP102")]
    assert tree_rules(deep, whole=False) == []
    assert tree_rules(chain) == []


def test_private_names_that_nothing_uses() -> None:
    assert tree_rules("def _a():\n    pass\nclass _B:\n    pass\ndef _c():\n    pass\nx = _c\n") == [
        (1, "CP103"),
        (3, "CP103"),
    ]
    assert tree_rules("@app.route('/')\ndef _a():\n    pass\ndef _b():\n    pass\ny: 'list[_b]'\n") == []


def test_the_tree_checks_run_with_the_standard_library_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(Path(structure.__file__))],
        input='[{"source": "x = 1", "whole": true}]',
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == '{"syntax": null, "findings": []}\n'


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("F401", "warning"), ("F821", "error"), ("SIM105", "info"), ("S307", "warning"), ("E722", "warning"),
     ("E501", "info"), ("PLE0101", "error"), ("C901", "info"), ("UP034", "info"), ("CP104", "warning")],
)  # fmt: skip
def test_severities(rule, expected) -> None:
    assert severity(rule) == expected
