"""Fields that take a value as it is or refuse it: "5" is no number, true is no number, NaN is nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from aragora_cp.lanes import canonical

MOST_CAPABILITIES = 64
#: The longest time that may be asked for anywhere, in seconds: ten years.
LONGEST_TIME = 10 * 366 * 86400

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONEY = re.compile(r"[0-9]{1,9}(\.[0-9]{1,18})?")
_DIGITS = re.compile(r"[0-9]{1,9}")
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


class Whole(fields.Integer):
    """A whole number, within bounds."""

    def __init__(self, least: int, most: int, **kwargs: Any) -> None:
        super().__init__(strict=True, validate=validate.Range(least, most), **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.make_error("invalid")
        return super()._deserialize(value, *args, **kwargs)


class Number(fields.Float):
    """A finite number, within bounds."""

    def __init__(self, least: float, most: float, *, above: bool = False, **kwargs: Any) -> None:
        """`above`: `least` itself is not allowed."""
        super().__init__(validate=validate.Range(least, most, min_inclusive=not above), **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.make_error("invalid")
        return super()._deserialize(value, *args, **kwargs)


class Seconds(Number):
    """A time of at least a millisecond, which is the store's grain."""

    def __init__(self, most: float = LONGEST_TIME, **kwargs: Any) -> None:
        super().__init__(0.001, most, **kwargs)


class Truth(fields.Boolean):
    """true or false, nothing like them."""

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> Any:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Text(fields.String):
    """A text of bounded length."""

    def __init__(self, most: int, *, least: int = 0, **kwargs: Any) -> None:
        super().__init__(validate=validate.Length(least, most), **kwargs)


class Named(fields.String):
    """A text that matches a grammar as a whole."""

    def __init__(self, grammar: re.Pattern[str], rule: str, **kwargs: Any) -> None:
        super().__init__(validate=_fits(grammar, rule), metadata={"pattern": f"^{grammar.pattern}$"}, **kwargs)


class Capabilities(fields.List):
    """Capabilities in canonical order, each once."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(fields.String(), validate=validate.Length(max=MOST_CAPABILITIES), **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        found: list[Any] = super()._deserialize(value, *args, **kwargs)
        try:
            return list(canonical(found))
        except ValueError as error:
            raise ma.ValidationError(str(error)) from None


class Labels(fields.Dict):
    """Texts under short names: at most 64 of at most 1,024 characters."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            keys=Text(64, least=1), values=Text(1024), validate=at_most(64), metadata={"maxProperties": 64}, **kwargs
        )


class Instant(fields.String):
    """A moment in ISO 8601 with its offset from UTC; loads as ms since the epoch."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        try:
            found = datetime.fromisoformat(text)
            if found.tzinfo is None:
                raise ma.ValidationError("must say its offset from UTC, as in 2026-01-31T09:00:00Z")
            return (found - _EPOCH) // timedelta(milliseconds=1)
        except (ValueError, OverflowError):
            raise ma.ValidationError("is not a time in ISO 8601, as in 2026-01-31T09:00:00Z") from None


class Money(fields.String):
    """A decimal text such as "0.0031"; loads as Decimal. Never a number: a float is not an amount."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        if not _MONEY.fullmatch(text):
            raise ma.ValidationError('must be a decimal text such as "0.0031"')
        return Decimal(text)


class QueryWhole(fields.Integer):
    """A whole number in a query: digits and nothing else."""

    def __init__(self, least: int, most: int, **kwargs: Any) -> None:
        super().__init__(validate=validate.Range(least, most), **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if not _DIGITS.fullmatch(value):
            raise self.make_error("invalid")
        return super()._deserialize(value, *args, **kwargs)


class QuerySeconds(fields.Float):
    """Seconds in a query, 0 or more."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if not _SECONDS.fullmatch(value):
            raise self.make_error("invalid")
        return super()._deserialize(value, *args, **kwargs)


def at_most(entries: int) -> Callable[[Mapping[str, Any]], None]:
    """Validates an object's number of entries (`validate.Length` would document a text)."""

    def check(value: Mapping[str, Any]) -> None:
        if len(value) > entries:
            raise ma.ValidationError(f"must have at most {entries} entries")

    return check


def _fits(grammar: re.Pattern[str], rule: str) -> Callable[[str], None]:
    def check(value: str) -> None:
        if not grammar.fullmatch(value):
            raise ma.ValidationError(rule)

    return check
