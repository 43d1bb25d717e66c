"""Price tables in the store: the platform's, and each workspace's own; a version for each time that they were set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.prices import Price, PriceTable, prices_json, read_prices
from aragora_cp.store import scripts
from aragora_cp.store.connection import translated
from aragora_cp.store.forms import Record, as_record
from aragora_cp.store.keys import fleet_keys, workspace_keys

#: Versions that are kept.
KEPT_VERSIONS = 50


class PriceStore:
    """`workspace` None is the platform. Raises StoreUnavailable from every method."""

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig) -> None:
        self._client = client
        self._prefix = config.key_prefix

    def put(self, workspace: str | None, prices: Mapping[str, Price]) -> PriceTable:
        """Set all prices; answers the new version. Caches are told. Two round trips."""
        call = scripts.Call(
            scripts.script("put_prices"), self._keys(workspace).root, (prices_json(prices), KEPT_VERSIONS)
        )
        with translated():
            version, at = scripts.run(self._client, call)
            self._client.publish(fleet_keys(self._prefix)("changes"), f"prices:{workspace or ''}")
        return PriceTable(version, dict(prices), at)

    def tables(self, workspace: str) -> tuple[PriceTable, PriceTable]:
        """The platform's and the workspace's own, as they are now. One round trip."""
        with translated():
            pipe = self._client.pipeline(transaction=False)
            for keys in (self._keys(None), self._keys(workspace)):
                pipe.hgetall(keys("prices"))
            of_platform, own = (as_record(found) for found in pipe.execute())
        return _table(of_platform), _table(own)

    def version(self, workspace: str | None, version: int) -> PriceTable | None:
        """One version, None when it never was or is not kept any more. One round trip."""
        with translated():
            found = as_record(self._client.hgetall(self._keys(workspace)("prices")))
        return _table(found, version) if f"v{version}" in found else None

    def _keys(self, workspace: str | None) -> Any:
        return fleet_keys(self._prefix) if workspace is None else workspace_keys(self._prefix, workspace)


def _table(record: Record, version: int | None = None) -> PriceTable:
    if not record:
        return PriceTable()
    version = version or int(record["current"])
    return PriceTable(version, read_prices(record[f"v{version}"].decode()), int(record[f"at{version}"]))
