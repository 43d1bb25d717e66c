import shutil
import subprocess

import pytest

from workers.diffs import DiffError, Line, parse
from workers.fragments import fragment

CHANGE = """\
diff --git a/pkg/a.py b/pkg/a.py
index 111..222 100644
--- a/pkg/a.py
+++ b/pkg/a.py
@@ -1,4 +1,5 @@ class A:
 one
--- two
+++ plus
+three

 four
@@ -10 +11 @@
-old
+new
\\ No newline at end of file
"""


def test_lines_keep_the_numbers_of_the_new_side() -> None:
    (file,) = parse(CHANGE)

    assert file.path == "pkg/a.py"
    assert file.hunks == [
        [
            Line(1, "one", False),
            Line(2, "++ plus", True),
            Line(3, "three", True),
            Line(4, "", False),
            Line(5, "four", False),
        ],
        [Line(11, "new", True)],
    ]


def test_created_deleted_renamed_and_binary_files() -> None:
    files = parse(
        "diff --git a/new.py b/new.py\nnew file mode 100644\n--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+x\n"
        "diff --git a/old.py b/old.py\ndeleted file mode 100644\n--- a/old.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
        "diff --git a/from.py b/to.py\nsimilarity index 100%\nrename from from.py\nrename to to.py\n"
        "diff --git a/i.png b/i.png\nBinary files a/i.png and b/i.png differ\n"
    )

    assert [(f.path, f.created, f.deleted, len(f.hunks)) for f in files] == [
        ("new.py", True, False, 1),
        ("old.py", False, True, 1),
        ("to.py", False, False, 0),
        ("i.png", False, False, 0),
    ]


def test_a_plain_diff_has_no_git_header_and_may_carry_times() -> None:
    first, second = parse(
        "--- x.py\t2024-01-01 00:00:00\n+++ x.py\t2024-01-02 00:00:00\n@@ -1 +1 @@\n-a\n+b\n"
        "--- y.py\n+++ y.py\n@@ -1 +1 @@\n-a\n+b\n"
    )

    assert (first.path, second.path) == ("x.py", "y.py")


def test_git_quotes_unusual_names() -> None:
    (file,) = parse('--- "a/gr\\303\\274n \\"x\\".py"\n+++ "b/gr\\303\\274n \\"x\\".py"\n@@ -1 +1 @@\n-a\n+b\n')

    assert file.path == 'grün "x".py'


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_what_git_writes(tmp_path) -> None:
    (tmp_path / "a.py").write_text("".join(f"x{n} = {n}\n" for n in range(30)))
    (tmp_path / "b.py").write_text("".join(f"x{n} = {n if n % 10 else -n}\n" for n in range(30)))
    command = ["git", "diff", "--no-index", "a.py", "b.py"]
    diff = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout

    (file,) = parse(diff)

    assert file.path == "b.py"
    assert [(line.number, line.text) for hunk in file.hunks for line in hunk if line.added] == [
        (11, "x10 = -10"),
        (21, "x20 = -20"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "no file header"),
        ("@@ -1 +1 @@\n-a\n+b", "line 1: a hunk before any file name"),
        ("--- a\n+++ a\n@@ -1,3 +1,3 @@\n a\n", "line 5: does not fit|ends inside"),
        ("--- a\n+++ a\n@@ -1,2 +1,2 @@\n a\nnonsense\n", "line 5: does not fit the hunk of line 3"),
        ("--- a\n+++ a\n@@ what @@\n", "line 3: not a hunk header"),
        ("--- a\n+++ a\n@@@ -1 -1 +1 @@@\n", "combined"),
    ],
)
def test_what_is_no_diff_is_refused_with_its_line(text, message) -> None:
    with pytest.raises(DiffError, match=message):
        parse(text)


def hunk(text: str) -> list[Line]:
    return [Line(10 + n, line[1:], line[:1] == "+") for n, line in enumerate(text.splitlines())]


@pytest.mark.parametrize(
    "text",
    [
        "             b = 2\n+            c = eval(x)\n         else:\n             a = 2\n \n     def g(self):\n",
        "         y = 1\n+        z = 2\n     except ValueError:\n         return 2\n",
        "     else:\n+        await x\n         return y\n",
        " try:\n     x = 1\n+    y = 2\n",
        " class A:\n     @property\n+    @cached\n",
        " for x in y:\n     try:\n         if x:\n+            continue  # never:\n",
        "+# only a comment\n",
        " \t\tx = 1\n+\t\ty = 2\n \treturn\n",
    ],
)
def test_a_hunk_is_completed_to_something_that_parses(text) -> None:
    lines = hunk(text)

    part = fragment(lines)

    compile(part.source, "part", "exec", flags=0x400, dont_inherit=True)  # ast.PyCF_ONLY_AST
    source = part.source.splitlines()
    assert {number: source[at - 1] for at, number in part.added.items()} == {
        line.number: line.text for line in lines if line.added
    }
