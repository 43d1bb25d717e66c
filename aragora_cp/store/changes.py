"""What local caches must read again, as the store tells it."""

from __future__ import annotations

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.store.connection import connect, translated
from aragora_cp.store.keys import fleet_keys


class ChangeFeed:
    """A subscription on a connection of its own. Raises StoreUnavailable from every method but `close`."""

    def __init__(self, config: ControlPlaneConfig) -> None:
        """Stands when this returns: no later change is missed."""
        self._client: redis.Redis = connect(config, pool_size=1)
        self._pubsub = self._client.pubsub()
        self._timeout = config.redis_timeout
        try:
            with translated():
                self._pubsub.subscribe(fleet_keys(config.key_prefix)("changes"))
                self._pubsub.get_message(timeout=self._timeout)
        except BaseException:
            self.close()
            raise

    def hear(self, timeout: float) -> tuple[str, str] | None:
        """The next change, as kind and name; None after `timeout` seconds without one."""
        with translated():
            message = self._pubsub.get_message(ignore_subscribe_messages=True, timeout=timeout)
        if message is None or message["type"] != "message":
            return None
        kind, _, name = message["data"].decode(errors="replace").partition(":")
        return kind, name

    def close(self) -> None:
        self._pubsub.close()
        self._client.close()
