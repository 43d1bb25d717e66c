"""Commands on the store itself: asking for it before anything is built on it, and who it is that writes there."""

from __future__ import annotations

from contextlib import AbstractContextManager
from getpass import getuser

from aragora_cp.cli.failure import CommandFailed
from aragora_cp.config import ControlPlaneConfig, redact_url
from aragora_cp.errors import StoreUnavailable
from aragora_cp.store.connection import connect
from aragora_cp.store.tokens import TokenStore
from aragora_cp.telemetry.origin import Origin, called_by


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


def as_local_user() -> AbstractContextManager[None]:
    """For the audit trail: what is written meanwhile is written by whoever is logged in here."""
    try:
        name = getuser()
    except (OSError, KeyError, ImportError):
        name = "unknown"
    return called_by(Origin(actor=f"local:{name}"))
