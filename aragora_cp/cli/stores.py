"""Asking for the store before anything is built on it."""

from __future__ import annotations

from aragora_cp.cli.failure import CommandFailed
from aragora_cp.config import ControlPlaneConfig, redact_url
from aragora_cp.errors import StoreUnavailable
from aragora_cp.store.connection import connect
from aragora_cp.store.tokens import TokenStore


def require_store(config: ControlPlaneConfig) -> None:
    """Raises CommandFailed with one line when the store does not answer."""
    client = connect(config, pool_size=1)
    try:
        TokenStore(client, config).now()
    except StoreUnavailable as error:
        reason = "it does not answer" if str(error) == str(StoreUnavailable()) else str(error)
        raise CommandFailed(
            f"cannot use the store at {redact_url(config.redis_url)}: {reason}; set ARAGORA_CP_REDIS_URL, "
            "or start `aragora-cp dev`, which brings its own"
        ) from error
    finally:
        client.close()
