"""The code agent: reviews Python sources and diffs by ruff and by syntax tree, without executing them."""

from __future__ import annotations

import time
from typing import Any

from marshmallow import RAISE, Schema, fields, validate

from aragora_cp import Agent, Context, RejectTask
from workers.code_review import MOST_CHARACTERS, MOST_FILES, ReviewTooLargeError, review_diff, review_files
from workers.diffs import DiffError

agent = Agent("code-1", capabilities=["code", "code.python"], model="ruff", concurrency=2)
app = agent.app

#: Seconds that one review may take, however long the task's own limit is.
LONGEST_REVIEW = 120.0


class FileSchema(Schema):
    class Meta:
        unknown = RAISE

    path = fields.String(required=True, validate=validate.Length(min=1, max=500))
    source = fields.String(required=True, validate=validate.Length(max=MOST_CHARACTERS))


class ReviewPayload(Schema):
    class Meta:
        unknown = RAISE

    files = fields.List(fields.Nested(FileSchema), validate=validate.Length(min=1, max=MOST_FILES))
    diff = fields.String(validate=validate.Length(min=1, max=2 * MOST_CHARACTERS))


@agent.task("code.review", schema=ReviewPayload)
def review(payload: dict[str, Any], ctx: Context) -> dict[str, Any]:
    if ("files" in payload) == ("diff" in payload):
        raise RejectTask('give either "files" or "diff"')
    ctx.progress(0, "reading")
    # A second is kept back so that a review that is too slow ends as an error of its own, not by the task's
    # limit.
    deadline = min(time.time() + LONGEST_REVIEW, ctx.deadline - 1)
    try:
        if "files" in payload:
            return review_files(payload["files"], deadline=deadline, progress=ctx.progress)
        return review_diff(payload["diff"], deadline=deadline, progress=ctx.progress)
    except (DiffError, ReviewTooLargeError) as unusable:
        raise RejectTask(str(unusable)) from unusable
