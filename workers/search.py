"""The search agent: full-text search over documents that callers index, kept on disk for each workspace."""

from __future__ import annotations

import os
import time
from typing import Any

from marshmallow import RAISE, Schema, fields, validate

from aragora_cp import Agent, Context, RejectTask
from workers.fulltext import FullTextIndex, UnknownIndexError, data_folder

agent = Agent("search-1", capabilities=["search"], model="tantivy", concurrency=2)
app = agent.app

FOLDER = data_folder(os.environ)

#: Seconds to wait for another writer of the same index; the task is retried after that.
PATIENCE = 30.0

INDEX_NAME = validate.Length(min=1, max=100)


class DocumentSchema(Schema):
    class Meta:
        unknown = RAISE

    id = fields.String(required=True, validate=validate.Length(min=1, max=200))
    text = fields.String(required=True, validate=validate.Length(max=1_000_000))


class IndexPayload(Schema):
    class Meta:
        unknown = RAISE

    index = fields.String(required=True, validate=INDEX_NAME)
    documents = fields.List(fields.Nested(DocumentSchema), required=True, validate=validate.Length(min=1, max=10_000))


class QueryPayload(Schema):
    class Meta:
        unknown = RAISE

    index = fields.String(required=True, validate=INDEX_NAME)
    query = fields.String(required=True, validate=validate.Length(min=1, max=1_000))
    limit = fields.Integer(strict=True, load_default=10, validate=validate.Range(min=1, max=100))


@agent.task("search.index", schema=IndexPayload)
def index(payload: dict[str, Any], ctx: Context) -> dict[str, Any]:
    ctx.progress(0, f"indexing {len(payload['documents'])} documents")
    patience = max(0.0, min(PATIENCE, ctx.deadline - time.time() - 1))
    written, total = FullTextIndex(FOLDER, ctx.workspace, payload["index"]).put(payload["documents"], patience=patience)
    ctx.progress(100, "indexed")
    return {"index": payload["index"], "indexed": written, "documents": total}


@agent.task("search.query", schema=QueryPayload)
def query(payload: dict[str, Any], ctx: Context) -> dict[str, Any]:
    try:
        hits = FullTextIndex(FOLDER, ctx.workspace, payload["index"]).search(payload["query"], payload["limit"])
    except UnknownIndexError as unknown:
        raise RejectTask(str(unknown)) from unknown
    return {
        "index": payload["index"],
        "query": payload["query"],
        "hits": [{"id": hit.id, "score": hit.score, "passage": hit.passage} for hit in hits],
    }
