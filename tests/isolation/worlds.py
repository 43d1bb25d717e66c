"""Two worlds that differ in one thing: in one of them A has possessions. B must not be able to tell them apart."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from aragora_cp.api.app import BASE
from aragora_cp.errors import AragoraError
from aragora_cp.model import Role
from aragora_cp.store.flags import FlagStore
from aragora_cp.tenancy.tokens import TokenIssuer
from aragora_cp.wiring import ControlPlane
from tests.api.conftest import Caller
from tests.isolation.estate import COMMON, COMMON_FLAG, SHARED_AGENT, A, B
from tests.isolation.visits import Own, Visit

OWN_AGENT = "own-1"

#: Differ from one run to the next, and tell nothing: task ids, times, sessions, new tokens.
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+Z?")
_HEX = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{16})\b|\b\d{13}-\d+\b")
_TOKEN = re.compile(r"acp_[0-9a-f]{16}_\w+")
#: Noted later, by another thread.
_USED = re.compile(r'("last_used_at":\s*)(?:null|"<time>")')
_DURATION = re.compile(r'("(?:duration_ms|oldest_wait)":\s*)[\d.]+|()\b\d+\.\d (?:s|min)\b')
#: Of the transport, or of this one request.
_UNTOLD_HEADERS = frozenset({"Date", "X-Correlation-ID", "traceparent", "Content-Length"})


@dataclass(frozen=True)
class World:
    """One control plane with workspaces A and B, and B's tokens, one a role that a workspace's token can have."""

    plane: ControlPlane
    app: Flask
    tokens: Mapping[Role, str]
    own: Own

    @classmethod
    def make(cls, plane: ControlPlane, app: Flask) -> World:
        issuer = TokenIssuer(plane.tokens)
        tokens: dict[Role, str] = {}
        for role in Role:
            try:
                tokens[role] = issuer.issue(workspace=B, role=role).text
            except AragoraError:
                continue  # no token of a workspace may have it
        Caller(app.test_client(), issuer.issue(workspace=None, role=Role.ADMIN).text).register(SHARED_AGENT, [COMMON])
        rule = {"if": [{"==": [{"var": "workspace"}, A]}, "canary-variant"]}
        variants = {"canary-variant": True, "off": False}
        flag = {"state": "ENABLED", "variants": variants, "defaultVariant": "off", "targeting": rule}
        FlagStore(plane.client, plane.config).put(None, COMMON_FLAG, json.dumps(flag))
        operator = Caller(app.test_client(), tokens[Role.OPERATOR])
        session = operator.register(OWN_AGENT, ["own"])["session"]
        return cls(plane, app, tokens, Own(session, operator.submit()["task_id"]))

    def operator_of_a(self) -> Caller:
        return Caller(
            self.app.test_client(), TokenIssuer(self.plane.tokens).issue(workspace=A, role=Role.OPERATOR).text
        )

    def send(self, operation: Mapping[str, Any], visit: Visit, headers: Mapping[str, str]) -> TestResponse:
        path = operation["path"].format(**visit.path)
        return self.app.test_client().open(
            path,
            method=operation["method"],
            query_string=dict(visit.query),
            json=visit.json,
            headers={**visit.headers, **headers},
        )


def operations(app: Flask) -> list[dict[str, Any]]:
    """Every operation of the OpenAPI document, with its method, path and all of its parameters."""
    paths = app.test_client().get(f"{BASE}/openapi.json").json["paths"]
    return [
        {
            **operation,
            "method": method.upper(),
            "path": path,
            "parameters": [*methods.get("parameters", []), *operation.get("parameters", [])],
        }
        for path, methods in paths.items()
        for method, operation in methods.items()
        if method != "parameters"
    ]


def settled(text: str, *sent: str) -> str:
    """`text` less what differs from one run to the next. What was sent comes back as it is."""
    kept = {found for part in sent for pattern in (_UUID, _HEX) for found in pattern.findall(part)}
    text = _TOKEN.sub("<token>", _TIME.sub("<time>", _DURATION.sub(r"\1<time>", text)))
    for pattern in (_UUID, _HEX):
        text = pattern.sub(lambda match: match[0] if match[0] in kept else "<id>", text)
    return _USED.sub(r"\1<time>", text)


def shape(answer: TestResponse, sent: Sequence[str]) -> tuple[int, dict[str, str], str]:
    """Status, headers and body, settled."""
    headers = {name: settled(value, *sent) for name, value in answer.headers.items() if name not in _UNTOLD_HEADERS}
    body = answer.get_data(as_text=True)
    if answer.is_json:
        told = answer.json
        if isinstance(told, dict):
            told.pop("correlation_id", None)
            # Where ids are random, so is the order.
            told["items"] = sorted(settled(json.dumps(each, sort_keys=True), *sent) for each in told.get("items", []))
        body = json.dumps(told, sort_keys=True)
    return answer.status_code, headers, settled(body, *sent)
