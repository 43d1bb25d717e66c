"""The OpenAPI document, and a page of it for people that loads nothing from outside."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, make_response, render_template
from flask_smorest import Api

from aragora_cp._version import __version__
from aragora_cp.api.access import REFUSALS_NOTE, public
from aragora_cp.api.bodies import json_answer
from aragora_cp.api.problems import MEDIA_TYPE
from aragora_cp.api.schemas.health import ProblemSchema
from aragora_cp.errors import (
    Forbidden,
    InvalidRequest,
    MalformedRequest,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    Refused,
    StoreUnavailable,
    Unauthenticated,
    UnsupportedMediaType,
    WorkspaceMismatch,
)

TITLE = "Aragora Control Plane"

_HEADERS = {
    "workspace": {
        "in": "header",
        "name": "X-Workspace-ID",
        "schema": {"type": "string", "pattern": "^[a-z0-9-]{1,63}$"},
        "description": "For a platform token: where the request acts (`default`). Else absent, or the token's own.",
    },
    "correlation": {
        "in": "header",
        "name": "X-Correlation-ID",
        "schema": {"type": "string", "maxLength": 128},
        "description": "Taken over when it is 1 to 128 of letters, digits and `. _ : / = + @ -`, else made; returned.",
    },
}
_METHODS = ("get", "post", "put", "patch", "delete")
_CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


class ControlPlaneApi(Api):
    """flask-smorest's collector of operations; its error answers are replaced by ours."""

    DEFAULT_ERROR_RESPONSE_NAME = None
    ERROR_SCHEMA = ProblemSchema

    def _register_error_handlers(self) -> None:
        """`problems.register` has them."""


def settings() -> dict[str, str]:
    """What flask-smorest wants to find in the app's configuration."""
    return {"API_TITLE": TITLE, "API_VERSION": __version__, "OPENAPI_VERSION": "3.1.0"}


def serve(app: Flask, api: Api, prefixes: Iterable[str]) -> None:
    """Add `/openapi.json` and `/docs` under each of `prefixes`. Call it when all operations are registered."""
    found = document(api)

    @public
    def openapi() -> Response:
        return json_answer(found)

    @public
    def docs() -> Response:
        response = make_response(render_template("docs.html", document=found, operations=operations(found)))
        response.headers["Content-Security-Policy"] = _CONTENT_POLICY
        return response

    for n, prefix in enumerate(prefixes):
        app.add_url_rule(f"{prefix}/openapi.json", f"openapi-{n}", openapi, methods=["GET"])
        app.add_url_rule(f"{prefix}/docs", f"docs-{n}", docs, methods=["GET"])


def document(api: Api) -> dict[str, Any]:
    """The document with what follows from the shape of each operation: its refusals, the headers it reads."""
    api.spec.components.security_scheme(
        "bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "acp_<token id>_<secret>"}
    )
    if "Problem" not in api.spec.components.schemas:
        api.spec.components.schema("Problem", schema=ProblemSchema)
    found = api.spec.to_dict()
    found["components"].pop("responses", None)
    found["components"]["schemas"].pop("PaginationMetadata", None)
    found["components"]["parameters"] = _HEADERS
    for _, _, _, operation in _each(found):
        refusals = _refusals(operation)
        answers = {status: answer for status, answer in operation["responses"].items() if status in _own(operation)}
        operation["responses"] = answers | {str(status): _answer(kinds) for status, kinds in sorted(refusals.items())}
        names = ["correlation"] if not operation["security"] else ["workspace", "correlation"]
        operation.setdefault("parameters", []).extend({"$ref": f"#/components/parameters/{name}"} for name in names)
    return found


def operations(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The operations as the page shows them."""
    return [{"method": method.upper(), "path": path, **operation} for method, path, _, operation in _each(found)]


def _each(found: dict[str, Any]) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    return [
        (method, path, shared, operation)
        for path, shared in found["paths"].items()
        for method, operation in shared.items()
        if method in _METHODS
    ]


def _own(operation: dict[str, Any]) -> set[str]:
    """The statuses that the operation states itself: flask-smorest adds a 422 of its own, by reference."""
    return {status for status, answer in operation["responses"].items() if "$ref" not in answer}


def _refusals(operation: dict[str, Any]) -> dict[int, list[type[Refused]]]:
    kinds: list[type[Refused]] = list(operation.pop(REFUSALS_NOTE, []))
    if operation["security"]:
        kinds += [MalformedRequest, Unauthenticated, Forbidden, WorkspaceMismatch, RateLimited, StoreUnavailable]
        kinds.append(NotFound)  # at least: the workspace that the request names
        if "requestBody" in operation:
            kinds += [PayloadTooLarge, UnsupportedMediaType, InvalidRequest]
        if any(parameter.get("in") == "query" for parameter in operation.get("parameters", [])):
            kinds.append(InvalidRequest)
    by_status: dict[int, list[type[Refused]]] = {500: [Refused]}
    for kind in dict.fromkeys(kinds):
        by_status.setdefault(kind.status, []).append(kind)
    return by_status


def _answer(kinds: list[type[Refused]]) -> dict[str, Any]:
    status = kinds[0].status
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(f'`{kind.code}`' for kind in kinds)}",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
