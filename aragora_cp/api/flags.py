"""/flags: feature flags, the platform's and the workspaces' own, which override them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from flask import Response

from aragora_cp.api.access import requires
from aragora_cp.api.bodies import Resource, expect_no_body, json_answer
from aragora_cp.api.schemas.flags import (
    EvaluateSchema,
    EvaluationSchema,
    FlagPageSchema,
    FlagSchema,
    HomeSchema,
    NewFlagSchema,
    RollBackSchema,
    WholeFlagSchema,
)
from aragora_cp.api.services import services, tenant
from aragora_cp.api.views import moment
from aragora_cp.errors import Forbidden, NotFound, QuotaExceeded
from aragora_cp.model import FlagVersion, Role
from aragora_cp.policy.flag_checks import FLAG_NAME, checked
from aragora_cp.policy.flags import RESERVED
from aragora_cp.store.flags import FlagStore

blueprint = Resource("flags", __name__)

_SOURCES = ("platform", "override")


@blueprint.route("", methods=["GET"])
@requires(Role.OPERATOR)
@blueprint.arguments(HomeSchema, location="query")
@blueprint.response(200, FlagPageSchema)
def list_flags(query: dict[str, Any]) -> Response:
    """List the flags that count in the workspace, by name

    Where both the platform and the workspace have one, both are listed.
    """
    homes = _homes(query)
    found = dict(zip(homes, _store().read([home for _, home in homes]), strict=True))
    rows = [_view(version, source) for (source, _), flags in found.items() for version in flags.values()]
    rows.sort(key=lambda row: (row["name"], row["source"]))
    return json_answer({"items": rows, "next_cursor": None})


@blueprint.route("/<name>", methods=["GET"])
@requires(Role.OPERATOR)
@blueprint.arguments(HomeSchema, location="query")
@blueprint.response(200, WholeFlagSchema)
def get_flag(query: dict[str, Any], name: str) -> Response:
    """Get a flag and its versions: the workspace's own, else the platform's"""
    _known_form(name)
    for source, home in reversed(_homes(query)):
        versions = _store().versions(home, name)
        if versions and versions[0].text:
            told = [_version_view(each, source) for each in versions]
            return json_answer(_view(versions[0], source) | {"versions": told if _shows(source) else []})
    raise _no_flag(name)


@blueprint.route("/<name>", methods=["PUT"])
@requires(Role.OPERATOR, QuotaExceeded)
@blueprint.arguments(HomeSchema, location="query")
@blueprint.arguments(NewFlagSchema)
@blueprint.response(200, FlagSchema)
def set_flag(query: dict[str, Any], body: dict[str, Any], name: str) -> Response:
    """Give a flag its next version

    Takes one flag of flagd's schema. What makes no sense is refused, and the last version stays. A change holds
    everywhere within 2 seconds.
    """
    source, home = _changeable(query, name)
    made = _store().put(home, name, checked(name, body))
    services().plane.flags.forget(home or "*")
    return json_answer(_view(made, source))


@blueprint.route("/<name>", methods=["DELETE"])
@requires(Role.OPERATOR)
@blueprint.arguments(HomeSchema, location="query")
@blueprint.response(204)
def delete_flag(query: dict[str, Any], name: str) -> Response:
    """Delete a flag

    Without the workspace's own the platform's counts again, if there is one. Its versions are kept.
    """
    expect_no_body()
    _, home = _changeable(query, name)
    _store().delete(home, name)
    services().plane.flags.forget(home or "*")
    return Response(status=204)


@blueprint.route("/<name>/rollback", methods=["POST"])
@requires(Role.OPERATOR, QuotaExceeded)
@blueprint.arguments(HomeSchema, location="query")
@blueprint.arguments(RollBackSchema)
@blueprint.response(200, FlagSchema)
def roll_back_flag(query: dict[str, Any], body: dict[str, Any], name: str) -> Response:
    """Let a flag say again what it said in an earlier version

    That becomes its next version; a flag that was deleted is there again.
    """
    source, home = _changeable(query, name)
    made = _store().roll_back(home, name, body["version"])
    services().plane.flags.forget(home or "*")
    return json_answer(_view(made, source))


@blueprint.route("/evaluate", methods=["POST"])
@requires(Role.OPERATOR)
@blueprint.arguments(EvaluateSchema)
@blueprint.response(200, EvaluationSchema)
def evaluate_flag(body: dict[str, Any]) -> Response:
    """Evaluate a flag for the workspace, and say how its value came about"""
    name, flags = body["name"], services().plane.flags
    # From the store, not from a copy: what was set a moment ago in another process is asked here first.
    flags.forget(tenant().workspace)
    flags.forget("*")
    if flags.find(name, tenant().workspace) is None:
        raise _no_flag(name)
    told = flags.evaluate(
        name,
        body.get("default"),
        workspace=tenant().workspace,
        targeting_key=body.get("targeting_key"),
        attributes=body["context"],
    )
    return json_answer(asdict(told))


def _store() -> FlagStore:
    plane = services().plane
    return FlagStore(plane.client, plane.config)


def _homes(query: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Whose flags are looked at, as (source, home). Raises Forbidden."""
    if query["platform"]:
        _require_admin()
        return [("platform", None)]
    return [("platform", None), ("override", tenant().workspace)]


def _changeable(query: dict[str, Any], name: str) -> tuple[str, str | None]:
    """Whose flag is changed, as (source, home). Raises Forbidden, NotFound."""
    _known_form(name)
    if query["platform"]:
        _require_admin()
        return "platform", None
    if name.startswith(RESERVED) and tenant().caller.role is not Role.ADMIN:
        raise Forbidden(f"flags under {', '.join(RESERVED)} are the platform's to change")
    return "override", tenant().workspace


def _require_admin() -> None:
    if tenant().caller.role is not Role.ADMIN:
        raise Forbidden("only a token with the role admin may ask for the platform's flags")


def _known_form(name: str) -> None:
    if not FLAG_NAME.fullmatch(name):
        raise _no_flag(name)


def _no_flag(name: str) -> NotFound:
    return NotFound(f"there is no flag {name[:128]!r}")


def _shows(source: str) -> bool:
    """What the platform's flags say names other workspaces: it is not for a workspace's token."""
    return source == "override" or tenant().of_platform


def _version_view(version: FlagVersion, source: str) -> dict[str, Any]:
    shown = _shows(source)
    return {
        "version": version.version,
        "at": moment(version.at),
        "by": version.by if shown else None,
        "flag": json.loads(version.text) if shown and version.text else None,
    }


def _view(version: FlagVersion, source: str) -> dict[str, Any]:
    return {"name": version.name, "source": source, **_version_view(version, source)}
