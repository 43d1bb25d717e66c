"""From the body of a submit to a NewTask. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aragora_cp.api.bodies import as_json
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import InvalidRequest, MalformedRequest
from aragora_cp.model import NewTask, Priority, RetryPolicy, to_micros
from aragora_cp.tenancy.middleware import TenantContext
from aragora_cp.tenancy.scopes import require_task

_KEY_HEADER = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,254}")


def new_task(
    body: Mapping[str, Any], tenant: TenantContext, config: ControlPlaneConfig, key_header: str | None
) -> NewTask:
    """`body` as `SubmitSchema` loads it, `key_header` the `Idempotency-Key` header.

    Raises PayloadTooLarge, InvalidRequest when header and field name different keys, MalformedRequest, Forbidden when
    the token is not for such tasks.
    """
    require_task(tenant.caller, body["task_type"], body["required_capabilities"])
    return NewTask(
        workspace=tenant.workspace,
        task_type=body["task_type"],
        payload=as_json(body["payload"], "payload", tenant.settings.max_payload_bytes or config.max_payload_bytes),
        required_capabilities=tuple(body["required_capabilities"]),
        priority=Priority.parse(body["priority"]),
        agent_id=body.get("agent_id"),
        timeout=body.get("timeout", config.task_timeout),
        queue_timeout=body.get("queue_timeout"),
        max_retries=body.get("max_retries", config.max_task_retries),
        retry=body.get("retry_backoff", RetryPolicy()),
        delay=body.get("delay"),
        run_at_ms=body.get("run_at"),
        idempotency_key=_idempotency_key(body.get("idempotency_key"), key_header),
        cache_ttl=body.get("cache_ttl"),
        estimate_micros=to_micros(body["estimated_cost"]) if "estimated_cost" in body else None,
        metadata=body["metadata"],
        correlation_id=tenant.caller.correlation_id,
        actor=tenant.caller.actor,
        placement=body.get("placement", ""),
    )


def _idempotency_key(field: str | None, header: str | None) -> str | None:
    """The header may be quoted, as the IETF draft has it, or bare, as most clients send it."""
    if header is None:
        return field
    key = header[1:-1] if len(header) > 2 and header[0] == header[-1] == '"' else header
    if not _KEY_HEADER.fullmatch(key):
        raise MalformedRequest("Idempotency-Key must be 1 to 255 printable ASCII characters")
    if field not in (None, key):
        raise InvalidRequest({"idempotency_key": ["is not the one of the Idempotency-Key header"]})
    return key
