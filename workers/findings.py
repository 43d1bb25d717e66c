"""What a code review finds, and how grave each rule is."""

from __future__ import annotations

from dataclasses import dataclass

#: Gravest first. error: it fails or does the wrong thing when it runs. warning: likely a bug or a hole.
#: info: style, size and idiom.
SEVERITIES = ("error", "warning", "info")

#: The longest matching prefix of a rule decides. Ruff's prefixes are explained in its rule reference; CP are
#: ours.
_SEVERITY = {
    "invalid-syntax": "error",
    "F": "warning",
    "F5": "error",  # format strings that do not fit their arguments
    "F62": "error",  # assignments that cannot be unpacked
    "F63": "error",  # assert on a tuple, `is` on a literal, raise NotImplemented
    "F7": "error",  # return, yield, break, continue where they cannot stand
    "F82": "error",  # names that are not defined
    "E": "info",
    "E9": "error",
    "E722": "warning",
    "B": "warning",
    "S": "warning",
    "SIM": "info",
    "ASYNC": "warning",
    "PLE": "error",
    "PLW": "warning",
    "RUF": "info",
    "RUF006": "warning",  # a task nobody holds may be collected while it runs
    "CP000": "warning",
    "CP104": "warning",
}


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """`file` is the caller's own name for it; `line` counts from 1, in the new version of a file when it was
    a diff.
    """

    file: str
    line: int
    rule: str
    message: str
    severity: str


def severity(rule: str) -> str:
    for length in range(len(rule), 0, -1):
        if found := _SEVERITY.get(rule[:length]):
            return found
    return "info"
