"""/policies: rules about who may do what."""

from __future__ import annotations

from typing import Any

from flask import Response

from aragora_cp.api.access import requires
from aragora_cp.api.bodies import Resource, expect_no_body, json_answer
from aragora_cp.api.policy_views import decision_view, judged_view, policy_view
from aragora_cp.api.schemas.policies import (
    DecisionSchema,
    NewPolicySchema,
    PoliciesSchema,
    PolicyDetailSchema,
    PolicySchema,
    PolicyTestSchema,
    ReplayedSchema,
    ReplaySchema,
    RollbackSchema,
    ScopeSchema,
)
from aragora_cp.api.services import services, tenant
from aragora_cp.documents import PLATFORM, Case, Scope
from aragora_cp.errors import Conflict, Forbidden
from aragora_cp.model import Role

blueprint = Resource("policies", __name__)


@blueprint.route("", methods=["GET"])
@requires(Role.OPERATOR)
@blueprint.arguments(ScopeSchema, location="query")
@blueprint.response(200, PoliciesSchema)
def list_policies(query: dict[str, Any]) -> Response:
    """List the policies in force, and those that only watch"""
    found = services().plane.policies.current(_scope(query))
    return json_answer({"items": [policy_view(each) for each in found]})


@blueprint.route("/<name>", methods=["GET"])
@requires(Role.OPERATOR)
@blueprint.arguments(ScopeSchema, location="query")
@blueprint.response(200, PolicyDetailSchema)
def get_policy(query: dict[str, Any], name: str) -> Response:
    """Get a policy, and where its shadow would have decided otherwise"""
    publisher, scope = services().plane.policies, _scope(query)
    found = publisher.get(scope, name)
    counts, differing = publisher.mismatches(tenant().workspace, scope, name)
    return json_answer(
        {
            "name": name,
            "versions": [policy_view(each) for each in found],
            "mismatches": [{"version": version, "count": count} for version, count in sorted(counts.items())],
            "differing": [judged_view(each) for each in differing],
        }
    )


@blueprint.route("/<name>", methods=["PUT"])
@requires(Role.OPERATOR, Conflict)
@blueprint.arguments(ScopeSchema, location="query")
@blueprint.arguments(NewPolicySchema)
@blueprint.response(200, PolicySchema)
def publish_policy(query: dict[str, Any], body: dict[str, Any], name: str) -> Response:
    """Publish a new version of a policy

    Only when it fits the schema and its own tests come out as they expect. It holds everywhere within 2 seconds.
    """
    made = services().plane.policies.publish(
        _scope(query),
        name,
        source=body["source"],
        cases=[Case(**each) for each in body["tests"]],
        mode=body["mode"],
        author=tenant().caller.actor,
    )
    return json_answer(policy_view(made))


@blueprint.route("/<name>", methods=["DELETE"])
@requires(Role.OPERATOR)
@blueprint.arguments(ScopeSchema, location="query")
@blueprint.response(204)
def delete_policy(query: dict[str, Any], name: str) -> Response:
    """Take a policy out of force; its versions stay"""
    expect_no_body()
    services().plane.policies.delete(_scope(query), name)
    return Response(status=204)


@blueprint.route("/test", methods=["POST"])
@requires(Role.OPERATOR)
@blueprint.arguments(PolicyTestSchema)
@blueprint.response(200, DecisionSchema)
def test_policy(body: dict[str, Any]) -> Response:
    """Ask how a request would be decided; nothing is kept"""
    workspace = tenant().workspace
    return json_answer(
        decision_view(services().plane.policies.test(workspace, workspace, body["request"], body.get("source")))
    )


@blueprint.route("/<name>/versions", methods=["GET"])
@requires(Role.OPERATOR)
@blueprint.arguments(ScopeSchema, location="query")
@blueprint.response(200, PoliciesSchema)
def list_policy_versions(query: dict[str, Any], name: str) -> Response:
    """List the versions of a policy, newest first"""
    found = services().plane.policies.versions(_scope(query), name)
    return json_answer({"items": [policy_view(each) for each in found]})


@blueprint.route("/<name>/rollback", methods=["POST"])
@requires(Role.OPERATOR)
@blueprint.arguments(ScopeSchema, location="query")
@blueprint.arguments(RollbackSchema)
@blueprint.response(200, PolicySchema)
def rollback_policy(query: dict[str, Any], body: dict[str, Any], name: str) -> Response:
    """Put an earlier version of a policy in force"""
    return json_answer(policy_view(services().plane.policies.roll_back(_scope(query), name, body.get("version"))))


@blueprint.route("/<name>/replay", methods=["POST"])
@requires(Role.OPERATOR)
@blueprint.arguments(ScopeSchema, location="query")
@blueprint.arguments(ReplaySchema)
@blueprint.response(200, ReplayedSchema)
def replay_policy(query: dict[str, Any], body: dict[str, Any], name: str) -> Response:
    """Judge the workspace's last decisions again, with other rules in this policy's place; nothing changes"""
    found = services().plane.policies.replay(tenant().workspace, _scope(query), name, body["source"], body["last"])
    differences = [
        {"decision": judged_view(each.judged), "effect": each.effect.value, "rules": list(each.rules)}
        for each in found.differences
    ]
    return json_answer(
        {
            "replayed": found.replayed,
            "differing": found.differing,
            "unreadable": found.unreadable,
            "differences": differences,
        }
    )


def _scope(query: dict[str, Any]) -> Scope:
    """Raises Forbidden."""
    if not query["platform"]:
        return tenant().workspace
    if tenant().caller.role is not Role.ADMIN:
        raise Forbidden("only a token with the role admin may touch the platform's policies")
    return PLATFORM
