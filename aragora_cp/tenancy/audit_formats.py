"""Audit entries as other tools read them: CSV, CEF and OCSF. Pure; one line an entry."""

from __future__ import annotations

import csv
import io
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from aragora_cp._version import __version__
from aragora_cp.tenancy.audit import Record, milliseconds

COLUMNS = (
    "time", "trail", "id", "actor", "action", "kind", "target", "outcome", "correlation_id", "address", "before",
    "after",
)  # fmt: skip

_PRODUCT = {"name": "Aragora Control Plane", "vendor_name": "Aragora", "version": __version__}
#: A cell that begins so is a formula to a spreadsheet.
_FORMULA = re.compile(r"[=+\-@\t\r]")
#: OCSF 1.3, API Activity: what an action does to its target. Other: 99.
_ACTIVITIES: Mapping[str, int] = {
    **dict.fromkeys(("submit", "issue", "create", "register"), 1),
    **dict.fromkeys(("get", "list", "export", "verify"), 2),
    **dict.fromkeys(
        ("claim", "finish", "fail", "retry", "hand-back", "cancel", "expire", "change", "rotate", "drain", "resume",
         "suspend", "progress"), 3),
    **dict.fromkeys(("remove", "revoke", "delete", "destroy", "trim"), 4),
}  # fmt: skip
_OTHER = 99
_CLASS, _CATEGORY = 6003, 6
#: Outcomes that are no refusal and no failure.
SUCCESSES = frozenset({"accepted", "accepted-late", "retry", "ignored", "counted"})


def to_jsonl(record: Mapping[str, Any]) -> str:
    return orjson.dumps(record).decode()


def to_csv(entry: Mapping[str, Any]) -> str:
    """One row (RFC 4180); a cell that a spreadsheet would take for a formula begins with an apostrophe."""
    return _row([_cell(_text(entry[name])) for name in COLUMNS])


def csv_header() -> str:
    return _row(COLUMNS)


def to_cef(entry: Record) -> str:
    """ArcSight's Common Event Format, version 0."""
    good = entry["outcome"] in SUCCESSES
    told = [
        _PRODUCT["vendor_name"],
        _PRODUCT["name"],
        __version__,
        entry["action"],
        entry["action"],
        "3" if good else "6",
    ]
    extension: dict[str, str] = {
        "rt": str(milliseconds(entry["id"])),
        "externalId": entry["id"],
        "suser": entry["actor"],
        "act": entry["action"],
        "outcome": entry["outcome"],
        **_source(entry["address"]),
        "cs1Label": "trail",
        "cs1": entry["trail"],
        "cs2Label": "target",
        "cs2": f"{entry['kind']}:{entry['target']}",
        "cs3Label": "correlationId",
        "cs3": entry["correlation_id"],
        "cs4Label": "before",
        "cs4": _text(entry["before"]),
        "cs5Label": "after",
        "cs5": _text(entry["after"]),
    }
    pairs = " ".join(f"{name}={_cef_value(value)}" for name, value in extension.items() if value)
    return f"CEF:0|{'|'.join(_cef_head(part) for part in told)}|{pairs}"


def to_ocsf(entry: Record) -> str:
    """OCSF 1.3, class API Activity (6003), as one line of JSON."""
    activity = _ACTIVITIES.get(entry["action"].partition(".")[2], _OTHER)
    good = entry["outcome"] in SUCCESSES
    return to_jsonl(
        {
            "activity_id": activity,
            "category_uid": _CATEGORY,
            "class_uid": _CLASS,
            "type_uid": _CLASS * 100 + activity,
            "severity_id": 1 if good else 2,
            "status_id": 1 if good else 2,
            "status_detail": entry["outcome"],
            "time": milliseconds(entry["id"]),
            "metadata": {
                "version": "1.3.0",
                "product": _PRODUCT,
                "uid": entry["id"],
                "log_name": entry["trail"],
                "correlation_uid": entry["correlation_id"],
            },
            "actor": {"user": {"uid": entry["actor"], "name": entry["actor"]}},
            "api": {"operation": entry["action"], "service": {"name": _PRODUCT["name"]}},
            "src_endpoint": {"ip": entry["address"]} if entry["address"] else {"svc_name": entry["actor"] or "unknown"},
            "resources": [{"type": entry["kind"], "uid": entry["target"], "namespace": entry["trail"]}],
            "unmapped": {"before": entry["before"], "after": entry["after"]},
        }
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else to_jsonl(value)


def _cell(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def _row(cells: Any) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(cells)
    return out.getvalue()


def _source(address: str) -> dict[str, str]:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return {}
    if parsed.version == 4:
        return {"src": address}
    return {"c6a2Label": "Source IPv6 Address", "c6a2": address}


def _cef_head(text: str) -> str:
    return _one_line(text).replace("\\", "\\\\").replace("|", "\\|")


def _cef_value(text: str) -> str:
    return text.replace("\\", "\\\\").replace("=", "\\=").replace("\r", "\\r").replace("\n", "\\n")


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


#: Format: how an entry is written, and the line before all of them.
FORMATS: Mapping[str, tuple[Callable[[Record], str], str]] = {
    "jsonl": (to_jsonl, ""),
    "csv": (to_csv, csv_header()),
    "cef": (to_cef, ""),
    "ocsf": (to_ocsf, ""),
}
