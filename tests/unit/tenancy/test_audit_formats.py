"""Entries as other tools read them."""

from __future__ import annotations

import csv
import json

import pytest

from aragora_cp.tenancy.audit_formats import COLUMNS, FORMATS, csv_header, to_cef, to_csv, to_ocsf
from tests.trails import an_entry

AWKWARD = 'a|b\\c=d\n"e",f'


def test_csv_comes_back_as_it_was() -> None:
    entry = an_entry(1, target=AWKWARD)
    rows = list(csv.reader(f"{csv_header()}\n{to_csv(entry)}\n".splitlines(keepends=True)))
    assert tuple(rows[0]) == COLUMNS
    row = dict(zip(COLUMNS, rows[1], strict=True))
    assert row["target"] == AWKWARD
    assert (row["before"], json.loads(row["after"])) == ("", {"status": "PENDING"})
    assert row["time"] == entry["time"]


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_no_cell_is_a_formula(formula: str) -> None:
    row = next(csv.reader([to_csv(an_entry(1, target=formula))]))
    assert row[COLUMNS.index("target")] == f"'{formula}"


def test_cef_escapes_what_it_must() -> None:
    line = to_cef(an_entry(1, action="x.a|b", target=AWKWARD, corr=""))
    assert "\n" not in line
    assert line.startswith("CEF:0|Aragora|Aragora Control Plane|")
    assert "|x.a\\|b|x.a\\|b|3|rt=1700000000001 " in line
    assert 'cs2=x:a|b\\\\c\\=d\\n"e",f' in line
    assert " src=192.0.2.1 " in line
    assert "cs3=" not in line


def test_cef_tells_refusals_and_ipv6() -> None:
    line = to_cef(an_entry(1, outcome="forbidden", **{"from": "2001:db8::1"}))
    assert "|6|" in line
    assert "c6a2Label=Source IPv6 Address c6a2=2001:db8::1" in line
    assert "src=" not in to_cef(an_entry(1, **{"from": ""}))


def test_ocsf_is_an_api_activity() -> None:
    told = json.loads(to_ocsf(an_entry(3)))
    assert (told["class_uid"], told["category_uid"], told["activity_id"], told["type_uid"]) == (6003, 6, 1, 600301)
    assert (told["time"], told["severity_id"], told["status_id"]) == (1_700_000_000_003, 1, 1)
    assert told["metadata"]["version"] == "1.3.0"
    assert set(told["metadata"]["product"]) == {"name", "vendor_name", "version"}
    assert told["actor"]["user"]["uid"] == "token:0123456789abcdef"
    assert told["api"]["operation"] == "task.submit"
    assert told["src_endpoint"] == {"ip": "192.0.2.1"}
    assert told["resources"][0] == {"type": "task", "uid": an_entry(3)["target"], "namespace": "acme"}


@pytest.mark.parametrize(
    ("action", "activity"), [("task.claim", 3), ("audit.list", 2), ("token.revoke", 4), ("refusals.more", 99)]
)
def test_ocsf_knows_what_an_action_does(action: str, activity: int) -> None:
    told = json.loads(to_ocsf(an_entry(1, action=action, outcome="not-found", **{"from": ""})))
    assert told["activity_id"] == activity
    assert told["type_uid"] == 600300 + activity
    assert told["status_id"] == 2
    assert told["src_endpoint"] == {"svc_name": "token:0123456789abcdef"}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_one_line_an_entry(form: str) -> None:
    write, _ = FORMATS[form]
    line = write(an_entry(1, target="x", after=""))
    assert len(line.splitlines()) == 1
