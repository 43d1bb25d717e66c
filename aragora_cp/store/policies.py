"""Policies in the store: those of a workspace in its own slot, the platform's in the fleet's."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.documents import Document, Judged, Policies, Scope
from aragora_cp.model import Decision
from aragora_cp.store import scripts
from aragora_cp.store.connection import translated
from aragora_cp.store.forms import decision_control
from aragora_cp.store.keys import fleet_keys, workspace_keys

#: Versions of one policy that are kept; the oldest go first.
VERSIONS_KEPT = 200


class PolicyStore:
    """A `documents.PolicyRecords`. One script or read a method, one round trip; a change is told in a second one."""

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig) -> None:
        self._client = client
        self._prefix = config.key_prefix
        self._fleet = fleet_keys(config.key_prefix)

    def read(self, scope: Scope) -> Policies:
        with translated():
            found: Any = self._client.hgetall(self._keys(scope)("policies"))
        by_mode: dict[str, dict[str, Document]] = {"enforce": {}, "shadow": {}}
        revision = int(found.pop(b"revision", 0))
        for field, row in found.items():
            mode, _, name = field.decode().partition(":")
            by_mode[mode][name] = _document(row)
        return Policies(revision, by_mode["enforce"], by_mode["shadow"])

    def publish(self, scope: Scope, document: Document, *, most: int) -> Document | None:
        answer = self._change(
            "publish_policy",
            scope,
            uuid.uuid4().hex,
            document.name,
            document.mode,
            document.to_json(),
            most,
            VERSIONS_KEPT,
        )
        if answer[0] == b"full":
            return None
        return Document.from_json(document.to_json(), *answer)

    def delete(self, scope: Scope, name: str) -> bool:
        return bool(self._change("withdraw_policy", scope, name))

    def roll_back(self, scope: Scope, name: str, number: int | None) -> int | None:
        answer = self._change("roll_back_policy", scope, uuid.uuid4().hex, name, number or "")
        return int(answer) if answer else None

    def versions(self, scope: Scope, name: str) -> Sequence[Document]:
        with translated():
            found: Any = self._client.hgetall(self._keys(scope)("policy", name))
        rows = [_document(row) for field, row in found.items() if field.isdigit()]
        return sorted(rows, key=lambda document: document.number, reverse=True)

    def judged(self, workspace: str, last: int) -> Sequence[Judged]:
        with translated():
            rows: Any = self._client.xrevrange(self._keys(workspace)("decisions"), count=last)
        return [_judged(entry.decode(), {name.decode(): value.decode() for name, value in row.items()})
                for entry, row in rows]  # fmt: skip

    def mismatches(self, workspace: str) -> Mapping[str, int]:
        with translated():
            found: Any = self._client.hgetall(self._keys(workspace)("mismatches"))
        return {mark.decode(): int(count) for mark, count in found.items()}

    def note(self, workspace: str, decision: Decision, *, action: str, actor: str, target: str, corr: str) -> None:
        self._run("note_decision", workspace, json.dumps(decision_control(decision)), action, actor, target, corr)

    def _keys(self, scope: Scope) -> Any:
        return self._fleet if scope is None else workspace_keys(self._prefix, scope)

    def _run(self, name: str, scope: Scope, *args: Any) -> Any:
        with translated():
            return scripts.run(self._client, scripts.Call(scripts.script(name), self._keys(scope).root, args))

    def _change(self, name: str, scope: Scope, *args: Any) -> Any:
        answer = self._run(name, scope, *args)
        with translated():
            self._client.publish(self._fleet("changes"), f"policy:{scope or '@'}")
        return answer


def _document(row: bytes) -> Document:
    number, at, text = row.decode().split(" ", 2)
    return Document.from_json(text, int(number), int(at))


def _judged(entry: str, row: Mapping[str, str]) -> Judged:
    return Judged(
        decision_id=row["id"],
        effect=row["effect"],
        rules=tuple(row["rules"].split()),
        version=row["version"],
        reason=row["reason"],
        request=row["request"],
        differing=tuple(row["differing"].split()),
        actor=row["actor"],
        target=row["target"],
        at=int(entry.partition("-")[0]),
    )
