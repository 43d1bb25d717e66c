"""/budgets and /usage: what may be spent, what is, and on what."""

from __future__ import annotations

import time
from datetime import date, timedelta
from typing import Any

from flask import Response

from aragora_cp.api.access import requires
from aragora_cp.api.bodies import Resource, expect_no_body, json_answer
from aragora_cp.api.schemas.budgets import (
    BudgetListSchema,
    BudgetSchema,
    PutBudgetSchema,
    UsageAnswerSchema,
    UsageQuerySchema,
)
from aragora_cp.api.services import services, tenant
from aragora_cp.api.views import budget_view
from aragora_cp.budgets import MOST_BUDGETS, NAME, NAME_RULE, Budget
from aragora_cp.errors import Conflict, Forbidden, InvalidRequest, NotFound
from aragora_cp.model import Role, to_micros
from aragora_cp.store.budgets import MEASURES, MOST_DAYS
from aragora_cp.store.records import format_micros

blueprint = Resource("budgets", __name__)
usage_blueprint = Resource("usage", __name__)

_EPOCH = date(1970, 1, 1)
_DAY_MS = 86_400_000
_DEFAULT_DAYS = 30
_PLATFORMS = "the platform has set this budget; it is not the workspace's to change"


@blueprint.route("/<name>", methods=["PUT"])
@requires(Role.OPERATOR, Conflict)
@blueprint.arguments(PutBudgetSchema)
@blueprint.response(200, BudgetSchema)
@blueprint.alt_response(201, schema=BudgetSchema, success=True, description="It is new.")
def put_budget(body: dict[str, Any], name: str) -> Response:
    """Set a budget

    What it has counted stays, unless its period, time zone or scope changes. One that the platform sets is the
    platform's to change.
    """
    if not NAME.fullmatch(name):
        raise InvalidRequest({"name": [NAME_RULE]})
    scope = next(iter((body["scope"] or {}).items()), (None, ""))
    budget = Budget(
        name,
        to_micros(body["limit"]),
        body["period"],
        hard=body["hard"],
        scope=scope[0],
        value=scope[1],
        timezone=body["timezone"],
        default_estimate=to_micros(body["default_estimate"]),
        owner="platform" if tenant().of_platform else "workspace",
    )
    if errors := budget.complaints():
        raise InvalidRequest(errors)
    word, standing = services().plane.budgets.put(tenant().workspace, budget, by_platform=tenant().of_platform)
    if standing is None:
        raise (
            Forbidden(_PLATFORMS)
            if word == "platforms"
            else Conflict(f"a workspace has at most {MOST_BUDGETS} budgets")
        )
    return json_answer(budget_view(standing), 201 if word == "made" else 200)


@blueprint.route("", methods=["GET"])
@requires(Role.OPERATOR)
@blueprint.response(200, BudgetListSchema)
def list_budgets() -> Response:
    """List budgets, by name"""
    found = services().plane.budgets.read(tenant().workspace)
    return json_answer({"items": [budget_view(each) for each in found]})


@blueprint.route("/<name>", methods=["GET"])
@requires(Role.OPERATOR)
@blueprint.response(200, BudgetSchema)
def get_budget(name: str) -> Response:
    """Get a budget, with what is spent and reserved"""
    found = services().plane.budgets.read(tenant().workspace, name) if NAME.fullmatch(name) else []
    if not found:
        raise _unknown(name)
    return json_answer(budget_view(found[0]))


@blueprint.route("/<name>", methods=["DELETE"])
@requires(Role.OPERATOR)
@blueprint.response(204)
def delete_budget(name: str) -> Response:
    """Delete a budget, with what it has counted"""
    expect_no_body()
    of_platform = tenant().of_platform
    word = "unknown"
    if NAME.fullmatch(name):
        word = services().plane.budgets.delete(tenant().workspace, name, by_platform=of_platform)
    if word == "platforms":
        raise Forbidden(_PLATFORMS)
    if word == "unknown":
        raise _unknown(name)
    return Response(status=204)


@usage_blueprint.route("", methods=["GET"])
@requires(Role.OPERATOR)
@usage_blueprint.arguments(UsageQuerySchema, location="query")
@usage_blueprint.response(200, UsageAnswerSchema)
def get_usage(query: dict[str, Any]) -> Response:
    """What the workspace has used, by day, task type, model or token

    Counted by UTC day as it is reported, for 400 days; of each day 200 task types, models and tokens by name, the rest
    as `(others)`.
    """
    last = query.get("to", round(time.time() * 1000)) // _DAY_MS
    first = query["from_"] // _DAY_MS if "from_" in query else last - _DEFAULT_DAYS
    if not 0 <= last - first < MOST_DAYS:
        raise InvalidRequest({"from": [f"must be at most {MOST_DAYS} days before `to`, and not after it"]})
    by, days = query["group_by"], range(first, last + 1)
    rows: dict[str, dict[str, int]] = {}
    for day, dimensions in services().plane.budgets.usage(tenant().workspace, days).items():
        for value, amounts in dimensions.get(by, {}).items():
            row = rows.setdefault(_name_of(day) if by == "day" else value, dict.fromkeys(MEASURES, 0))
            for measure, amount in amounts.items():
                row[measure] += amount
    total = {measure: sum(row[measure] for row in rows.values()) for measure in MEASURES}
    answer = {
        "from": _name_of(first),
        "to": _name_of(last),
        "group_by": by,
        "items": [_usage_view(value, row) for value, row in sorted(rows.items())],
        "total": _usage_view("", total),
    }
    return json_answer(answer)


def _name_of(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).isoformat()


def _usage_view(value: str, row: dict[str, int]) -> dict[str, Any]:
    return {"value": value, **row, "cost": format_micros(row["cost"])}


def _unknown(name: str) -> NotFound:
    return NotFound(f"there is no budget {name[:64]!r}")
