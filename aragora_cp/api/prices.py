"""/prices: what models cost, for use whose agents do not say it themselves."""

from __future__ import annotations

from typing import Any

from flask import Response

from aragora_cp.api.access import requires
from aragora_cp.api.bodies import Resource, json_answer
from aragora_cp.api.schemas.budgets import (
    PriceOwnerSchema,
    PriceQuerySchema,
    PricesSchema,
    PriceTableSchema,
    PutPricesSchema,
)
from aragora_cp.api.services import services, tenant
from aragora_cp.api.views import moment
from aragora_cp.errors import Forbidden, NotFound
from aragora_cp.model import Role, to_micros
from aragora_cp.prices import Price, PriceTable
from aragora_cp.store.records import format_micros

blueprint = Resource("prices", __name__)


@blueprint.route("", methods=["GET"])
@requires(Role.OPERATOR)
@blueprint.arguments(PriceQuerySchema, location="query")
@blueprint.response(200, PricesSchema)
def get_prices(query: dict[str, Any]) -> Response:
    """Get the workspace's own prices and the platform's

    With `version` the one table, the workspace's or the platform's, as it was then.
    """
    store = services().plane.prices
    of_platform, own = store.tables(tenant().workspace)
    if "version" in query:
        found = store.version(_owner(query), query["version"])
        if found is None:
            raise NotFound("there is no such version of the prices, or it is not kept any more")
        of_platform, own = (found, own) if query["platform"] else (of_platform, found)
    elif query["platform"]:
        _owner(query)
    return json_answer({"workspace": _view(own), "platform": _view(of_platform)})


@blueprint.route("", methods=["PUT"])
@requires(Role.OPERATOR)
@blueprint.arguments(PriceOwnerSchema, location="query")
@blueprint.arguments(PutPricesSchema)
@blueprint.response(200, PriceTableSchema)
def put_prices(query: dict[str, Any], body: dict[str, Any]) -> Response:
    """Set all prices of the workspace, or of the platform, as a new version

    They hold for what is reported within 2 seconds at the latest; what was counted before stays as it was.
    """
    prices = {model: _price(told) for model, told in body["prices"].items()}
    owner = _owner(query)
    made = services().plane.prices.put(owner, prices)
    services().plane.pricing.forget(owner)
    return json_answer(_view(made))


def _owner(query: dict[str, Any]) -> str | None:
    """Whose table is meant. Raises Forbidden for the platform's unless an admin of it asks."""
    if not query["platform"]:
        return tenant().workspace
    if not (tenant().of_platform and tenant().caller.role is Role.ADMIN):
        raise Forbidden("only a platform token with the role admin may do this with the platform's prices")
    return None


def _price(told: dict[str, Any]) -> Price:
    cached = told["cached_input"]
    return Price(to_micros(told["input"]), to_micros(told["output"]), None if cached is None else to_micros(cached))


def _view(table: PriceTable) -> dict[str, Any]:
    return {
        "version": table.version,
        "set_at": moment(table.set_at) if table.version else None,
        "prices": {
            model: {
                "input": format_micros(price.input),
                "output": format_micros(price.output),
                "cached_input": None if price.cached_input is None else format_micros(price.cached_input),
            }
            for model, price in table.prices.items()
        },
    }
