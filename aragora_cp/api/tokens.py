"""/tokens: who may call. A secret is shown once, in the answer that makes it."""

from __future__ import annotations

import re
from typing import Any

from flask import Response

from aragora_cp.api.access import requires
from aragora_cp.api.bodies import Resource, expect_no_body, json_answer
from aragora_cp.api.schemas.tenancy import (
    IssuedTokenSchema,
    NewTokenSchema,
    RotateSchema,
    TokenFilterSchema,
    TokenPageSchema,
)
from aragora_cp.api.services import services, tenant
from aragora_cp.api.views import page_view, token_view
from aragora_cp.errors import Conflict, Forbidden, MalformedRequest, NotFound, QuotaExceeded
from aragora_cp.model import Page, Role, Scopes
from aragora_cp.store.tokens import PLATFORM_SCOPE, TokenRecord
from aragora_cp.tenancy.roles import require_reach
from aragora_cp.tenancy.scopes import checked, narrowed
from aragora_cp.tenancy.tokens import TokenIssuer

blueprint = Resource("tokens", __name__)

_ID = re.compile(r"[0-9a-f]{16}")
_NARROWED = ("task_types", "capabilities", "networks")


@blueprint.route("", methods=["POST"])
@requires(Role.OPERATOR, QuotaExceeded)
@blueprint.arguments(NewTokenSchema)
@blueprint.response(201, IssuedTokenSchema, description="The token; its text is shown this once.")
def create_token(body: dict[str, Any]) -> Response:
    """Make a token for the workspace

    Never one that may do more than the token that makes it.
    """
    caller = tenant().caller
    if body["platform"]:
        _require_admin()
    given = {name: tuple(body[name]) for name in _NARROWED if name in body}
    scopes = narrowed(checked(Scopes(**given)), caller.scopes)
    require_reach(caller, body["role"], scopes)
    issued = TokenIssuer(services().plane.tokens).issue(
        workspace=None if body["platform"] else tenant().workspace,
        role=body["role"],
        name=body["name"],
        expires_in=body.get("expires_in"),
        scopes=scopes,
    )
    return json_answer(token_view(issued.record) | {"token": issued.text}, 201)


@blueprint.route("", methods=["GET"])
@requires(Role.OPERATOR, MalformedRequest)
@blueprint.arguments(TokenFilterSchema, location="query")
@blueprint.response(200, TokenPageSchema)
def list_tokens(query: dict[str, Any]) -> Response:
    """List the workspace's tokens, by id

    Without their secrets, which nobody has, and without those that were revoked.
    """
    cursor, limit = query.get("cursor"), query["limit"]
    if cursor is not None and not _ID.fullmatch(cursor):
        raise MalformedRequest("the cursor is not one of ours")
    if query["platform"]:
        _require_admin()
    scope = PLATFORM_SCOPE if query["platform"] else tenant().workspace
    found = services().plane.tokens.page(scope, cursor or "", limit)
    page = Page(tuple(found), found[-1].token_id if len(found) == limit else None)
    return json_answer(page_view(page, [token_view(each) for each in page.items]))


@blueprint.route("/<token_id>", methods=["DELETE"])
@requires(Role.OPERATOR)
@blueprint.response(204)
def revoke_token(token_id: str) -> Response:
    """Revoke a token, for good"""
    expect_no_body()
    record = _own_token(token_id)
    services().plane.tokens.revoke(record.token_id)
    services().tenancy.forget("token", record.token_id)
    return Response(status=204)


@blueprint.route("/<token_id>/rotate", methods=["POST"])
@requires(Role.OPERATOR, Conflict)
@blueprint.arguments(RotateSchema)
@blueprint.response(200, IssuedTokenSchema, description="The token with its new secret, shown this once.")
def rotate_token(body: dict[str, Any], token_id: str) -> Response:
    """Give a token a new secret

    The present one stays good for `overlap` seconds; one from before that is worthless at once.
    """
    record = _own_token(token_id)
    require_reach(tenant().caller, record.role, record.scopes)
    issued = TokenIssuer(services().plane.tokens).rotate(record.token_id, overlap=body["overlap"])
    services().tenancy.forget("token", record.token_id)
    return json_answer(token_view(issued.record) | {"token": issued.text})


def _own_token(token_id: str) -> TokenRecord:
    """The token, when it is of the workspace that the request acts in; of the platform for its admins. Raises NotFound.
    One round trip."""
    record = services().plane.tokens.get(token_id)[0] if _ID.fullmatch(token_id) else None
    whole = tenant().of_platform and tenant().caller.role is Role.ADMIN
    if record is None or (record.workspace != tenant().workspace and not (whole and record.workspace is None)):
        raise NotFound(f"there is no token {token_id[:64]!r}")
    return record


def _require_admin() -> None:
    if tenant().caller.role is not Role.ADMIN:
        raise Forbidden("only a token with the role admin may ask for the platform's tokens")
