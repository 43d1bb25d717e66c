"""Pricing: what a reported use costs, where its agent does not say so itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from aragora_cp.budgets import MOST_MICROS
from aragora_cp.errors import InvalidRequest
from aragora_cp.model import MICROS, Usage
from aragora_cp.prices import Price, PriceTable
from aragora_cp.tenancy.cache import FreshCache
from aragora_cp.tenancy.workspaces import REFUSE, Workspaces


class PriceRecords(Protocol):
    """Where prices are kept. Raises StoreUnavailable."""

    def tables(self, workspace: str) -> tuple[PriceTable, PriceTable]:
        """The platform's, and the workspace's own."""
        ...


class Pricing:
    """Safe to share between threads. Prices are at most as old as any local copy."""

    def __init__(self, records: PriceRecords, workspaces: Workspaces) -> None:
        self._records = records
        self._workspaces = workspaces
        self._cache: FreshCache[tuple[PriceTable, PriceTable]] = FreshCache()

    def priced(self, workspace: str, usage: Usage) -> Usage:
        """`usage` with its cost: as it says itself; else by the workspace's own price of its model, else the
        platform's, else as the workspace's `unknown_price` has it. Tokens without a model cost nothing.

        Raises InvalidRequest when it is to be refused, or costs more than can be counted. No round trip when it says
        its cost, has no tokens, or the copies are fresh; else at most two.
        """
        tokens = usage.input_tokens + usage.output_tokens
        if usage.cost_micros is not None or not usage.model or not tokens:
            return replace(usage, cost_micros=usage.cost_micros or 0)
        price, version = self._price(workspace, usage.model)
        cost = price.cost(usage.input_tokens, usage.output_tokens, usage.cached_tokens)
        if cost > MOST_MICROS:
            raise InvalidRequest({"usage": ["costs more than can be counted"]})
        return replace(usage, cost_micros=cost, price=version)

    def forget(self, workspace: str | None = None) -> None:
        """Read prices anew next time; without a name, all."""
        self._cache.forget(workspace or None)

    def _price(self, workspace: str, model: str) -> tuple[Price, str]:
        """And which version of which table it is from; '' for a model that no table has."""
        found = self._cache.get(workspace, lambda: self._records.tables(workspace))
        assert found is not None
        of_platform, own = found.value
        for table, whose in ((own, "workspace"), (of_platform, "platform")):
            if model in table.prices:
                return table.prices[model], f"{whose}:{table.version}"
        settings = self._workspaces.find(workspace)
        unknown = settings.unknown_price if settings else None
        if unknown == REFUSE:
            raise InvalidRequest({"usage.model": [f"the model {model!r} has no price; say what it cost"]})
        each = 0 if unknown is None else unknown_micros(unknown)
        return Price(each, each), ""


def unknown_micros(text: str) -> int:
    """Millionths for a million tokens, from a decimal text."""
    whole, _, part = text.partition(".")
    return int(whole) * MICROS + int((part + "000000")[:6])
