"""Policies and decisions as the HTTP contract shows them. Pure."""

from __future__ import annotations

import json
from typing import Any

from aragora_cp.api.views import moment
from aragora_cp.documents import Document, Judged
from aragora_cp.model import Decision


def policy_view(document: Document) -> dict[str, Any]:
    return {
        "name": document.name,
        "version": document.number,
        "mode": document.mode,
        "source": document.source,
        "tests": [{"request": dict(case.request), "expect": case.expect} for case in document.cases],
        "author": document.author,
        "created_at": moment(document.created_at),
    }


def decision_view(decision: Decision) -> dict[str, Any]:
    return {
        "decision_id": decision.decision_id,
        "effect": decision.effect.value,
        "rules": list(decision.rules),
        "policy_version": decision.version,
        "reason": decision.reason,
        "approvals": decision.demand.quorum if decision.demand else None,
        "differing": list(decision.differing),
    }


def judged_view(judged: Judged) -> dict[str, Any]:
    return {
        "decision_id": judged.decision_id,
        "effect": judged.effect,
        "rules": list(judged.rules),
        "policy_version": judged.version,
        "reason": judged.reason,
        "request": json.loads(judged.request),
        "actor": judged.actor,
        "target": judged.target,
        "at": moment(judged.at),
    }
