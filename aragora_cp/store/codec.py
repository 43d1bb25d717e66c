"""JSON in and out of the store: strict, and the same value comes back."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from aragora_cp.errors import AragoraError


class NotJson(AragoraError):
    """This is not JSON."""


def dumps(value: Any) -> bytes:
    """UTF-8 JSON that `loads` reads: no NaN, infinities, lone surrogates, circles. Raises NotJson saying which it was.

    What was written is read once here: the two parsers' bounds on nesting and on long numbers are not the writer's.
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        data = text.encode()
    except UnicodeEncodeError:
        raise NotJson("a text holds a lone surrogate") from None
    except RecursionError:
        raise NotJson("nested too deeply, or a circle") from None
    except (TypeError, ValueError) as error:
        raise NotJson(str(error).replace("Object of type ", "an object of type ")) from None
    loads(data)
    return data


def loads(data: bytes) -> Any:
    """The value of UTF-8 JSON. Raises NotJson for anything else: NaN, nesting beyond 1,024 levels, lone surrogates.

    orjson is the strict judge; the standard parser then makes the value, because orjson turns whole numbers
    beyond 64 bits into floats.
    """
    try:
        value = orjson.loads(data)
        return json.loads(data) if _may_hold_large_integer(data) else value
    except orjson.JSONDecodeError as error:
        raise NotJson(error.msg) from None
    except RecursionError:
        raise NotJson("nested too deeply") from None
    except ValueError as error:  # the standard parser's bound on the digits of an integer
        raise NotJson(str(error)) from None


def _may_hold_large_integer(data: bytes) -> bool:
    """Whether 19 or more digits stand in a row: cheap, and true for every integer that orjson would change."""
    return _LONG_DIGITS.search(data) is not None


_LONG_DIGITS = re.compile(rb"[0-9]{19}")
