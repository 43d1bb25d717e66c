"""What models cost, and what a use of one therefore does. Pure; money is in millionths of the currency's unit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

#: What prices are for.
PER_TOKENS = 1_000_000
MOST_MODELS = 500


@dataclass(frozen=True, slots=True)
class Price:
    """Of a million tokens each. `cached_input`: of input tokens that came from a cache; None: as input."""

    input: int
    output: int
    cached_input: int | None = None

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int) -> int:
        """`cached_tokens` are among the `input_tokens`. A part of a millionth counts as one."""
        cached = min(cached_tokens, input_tokens)
        total = (
            (input_tokens - cached) * self.input
            + cached * (self.input if self.cached_input is None else self.cached_input)
            + output_tokens * self.output
        )
        return -(-total // PER_TOKENS)


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices by model. Each time they are set is a version, which never changes; 0: they were never set."""

    version: int = 0
    prices: Mapping[str, Price] = field(default_factory=dict)
    set_at: int = 0


def prices_json(prices: Mapping[str, Price]) -> str:
    return json.dumps({model: asdict(price) for model, price in sorted(prices.items())})


def read_prices(text: str) -> dict[str, Price]:
    """The inverse of `prices_json`."""
    told: dict[str, dict[str, Any]] = json.loads(text)
    return {model: Price(**price) for model, price in told.items()}
