"""Whether a feature flag makes sense: by flagd's schema, and in itself. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft7Validator
from jsonschema.exceptions import best_match
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.exception import OpenFeatureError
from referencing import Registry, Resource

from aragora_cp.errors import InvalidRequest

FLAG_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
FLAG_NAME_RULE = "must be 1 to 128 of letters, digits and . _ -, beginning with a letter or a digit"
#: What a flag may say; `$evaluators` are for files of many flags.
MEMBERS = ("state", "variants", "defaultVariant", "targeting", "metadata")
LONGEST = 16 * 1024
#: Rules within rules. The schema's alternatives make checking cost more with each level.
DEEPEST = 40

#: The schema's definition for a flag, by the type of its first variant: the complaint is then about what is wrong.
_KINDS: Mapping[type, str] = {
    bool: "booleanFlag",
    int: "numberFlag",
    float: "numberFlag",
    str: "stringFlag",
    dict: "objectFlag",
    list: "objectFlag",
}
_YES_OR_NO = frozenset(
    {"==", "===", "!=", "!==", ">", ">=", "<", "<=", "!", "!!", "in", "all", "none", "some", "starts_with",
     "ends_with", "sem_ver"}
)  # fmt: skip
_LONGEST_COMPLAINT = 200


def checked(name: str, flag: Mapping[str, Any]) -> str:
    """The text under which `flag`, one flag in flagd's JSON, is kept. Raises InvalidRequest saying what is wrong."""
    if not FLAG_NAME.fullmatch(name):
        raise InvalidRequest({"name": [FLAG_NAME_RULE]})
    if unknown := set(flag) - set(MEMBERS):
        raise InvalidRequest({each: ["Unknown field."] for each in sorted(unknown)})
    if _depth(flag) > DEEPEST:
        raise InvalidRequest({"flag": [f"must not be nested deeper than {DEEPEST} levels"]})
    text = json.dumps(flag, separators=(",", ":"), sort_keys=True)
    if len(text) > LONGEST:
        raise InvalidRequest({"flag": [f"has {len(text)} bytes of JSON; {LONGEST} are allowed"]})
    _by_schema(flag)
    _in_itself(flag)
    try:
        FlagdCore().set_flags({"flags": {name: json.loads(text)}})
    except OpenFeatureError as error:
        raise InvalidRequest({"flag": [_short(str(error))]}) from None
    return text


def _by_schema(flag: Mapping[str, Any]) -> None:
    variants = flag.get("variants")
    first = next(iter(variants.values()), None) if isinstance(variants, Mapping) else None
    error = best_match(_validator(_KINDS.get(type(first), "booleanFlag")).iter_errors(flag))
    if error is not None:
        field = str(error.absolute_path[0]) if error.absolute_path else "flag"
        raise InvalidRequest({field: [_short(error.message)]})


def _in_itself(flag: Mapping[str, Any]) -> None:
    """What the schema cannot say: every variant that is named must be there."""
    variants = flag["variants"]
    default = flag.get("defaultVariant")
    if default is not None and default not in variants:
        raise InvalidRequest({"defaultVariant": [f"names no variant: {_short(default)!r}"]})
    for variant in results(flag.get("targeting") or None):
        if variant is None and default is None:
            continue  # the default of whoever asks
        if variant is not None and variant not in variants:
            raise InvalidRequest({"targeting": [f"names no variant: {_short(variant)!r}"]})
    if "$ref" in _keys_of(flag.get("targeting")):
        raise InvalidRequest({"targeting": ["has a $ref, which only a file of many flags could answer"]})


def results(rule: Any) -> Iterator[str | None]:
    """Every variant that a targeting rule names as its result; None where it leaves it to the default. What it works
    out of the context (`var`, `cat`, …) is not known before."""
    if rule is None or isinstance(rule, str):
        yield rule
    elif isinstance(rule, bool):
        yield str(rule).lower()
    elif isinstance(rule, int | float):
        yield str(rule)
    elif isinstance(rule, Mapping) and len(rule) == 1:
        ((operation, given),) = rule.items()
        arguments = given if isinstance(given, list) else [given]
        if operation == "if":
            # condition, result, condition, result, …, and the last alone is for when no condition holds
            for n, each in enumerate(arguments):
                if n % 2 == 1 or (n == len(arguments) - 1 and n > 0):
                    yield from results(each)
        elif operation == "fractional":
            for arm in arguments:
                if isinstance(arm, list):
                    yield from results(arm[0])
        elif operation in ("and", "or"):
            for each in arguments:
                yield from (
                    one for one in results(each) if not isinstance(each, Mapping) or one not in ("true", "false")
                )
        elif operation in _YES_OR_NO:
            yield from ("true", "false")


@cache
def _validator(kind: str) -> Draft7Validator:
    """Of one flag: a definition of flagd's own schema, with its schema of targeting beside it."""
    folder = files("aragora_cp.policy") / "flagd"
    read = {name: json.loads((folder / name).read_text()) for name in ("flags.json", "targeting.json")}
    registry: Any = Registry().with_resources(
        [(schema["$id"], Resource.from_contents(schema)) for schema in read.values()]
    )
    one = {"$schema": read["flags.json"]["$schema"], "$ref": f"{read['flags.json']['$id']}#/definitions/{kind}"}
    return Draft7Validator(one, registry=registry)


def _depth(value: Any) -> int:
    """Levels of nesting, without recursion: it is asked before anything else."""
    layer, levels = [value], 0
    while layer:
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        levels += 1
    return levels


def _keys_of(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        return {*value, *(key for inner in value.values() for key in _keys_of(inner))}
    return {key for inner in value for key in _keys_of(inner)} if isinstance(value, list) else set()


def _short(text: Any) -> str:
    return str(text)[:_LONGEST_COMPLAINT]
