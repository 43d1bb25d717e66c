"""The pool of connections, and the translation of the driver's errors."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import StoreUnavailable
from aragora_cp.telemetry import trips

T = TypeVar("T")

#: A server's own words for "not now": no write was made.
_REFUSALS = (
    "OOM",
    "READONLY",
    "MISCONF",
    "LOADING",
    "MASTERDOWN",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY",
)

#: A script that may not do something says so in these words (Redis and Valkey).
_NOT_ALLOWED = ("ACL failure in script", "The user executing the script can't")


class _BoundedRetry(Retry):
    """Three more tries, none of which begins later than `within` seconds after the first.

    The driver retries a connect inside the retry of its command: a silent server would be waited for sixteen times.
    """

    def __init__(self, within: float) -> None:
        super().__init__(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries=3)
        self._within = within

    def call_with_retry(
        self,
        do: Callable[[], T],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> T:
        give_up = time.monotonic() + self._within

        def worth_it(error: Exception) -> bool:
            return time.monotonic() < give_up and (is_retryable is None or is_retryable(error))

        return super().call_with_retry(do, fail, worth_it, with_failure_count)


class _CountingPool(redis.BlockingConnectionPool):
    """Counts the times that a connection is taken: a command, a script or a pipeline takes one, for one round trip."""

    def get_connection(self, *args: Any, **options: Any) -> Any:
        trips.count()
        return super().get_connection(*args, **options)


def connect(config: ControlPlaneConfig, *, pool_size: int | None = None) -> redis.Redis:
    """A client over a bounded pool whose every wait is bounded by `redis_timeout`; a call that has to connect first may
    wait twice that. Opens nothing yet.

    A command is sent again after a connection error, so every script must give the same answer when it is run twice.
    """
    timeout = config.redis_timeout
    pool = _CountingPool.from_url(
        config.redis_url,
        max_connections=pool_size or config.redis_pool_size,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        health_check_interval=30,
        retry=_BoundedRetry(timeout),
        retry_on_error=[ConnectionError, TimeoutError, BusyLoadingError],
        client_name="aragora-cp",
        **of_transport(config),
    )
    return redis.Redis.from_pool(pool)  # which closing the client closes too


def of_transport(config: ControlPlaneConfig) -> dict[str, Any]:
    """The driver's options that depend on how the store is reached."""
    keep: dict[str, Any] = {} if config.redis_url.startswith("unix:") else {"socket_keepalive": True}
    return keep | config.tls_options(config.redis_url)


def _distrust(error: BaseException | None) -> str | None:
    """Why TLS came to nothing, when that is what happened."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"the store's certificate is not trusted: {error.verify_message}; see redis_ca_file"
        if isinstance(error, ssl.SSLError):
            return f"no TLS with the store: {(error.reason or 'failed').lower().replace('_', ' ')}"
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def translated() -> Iterator[None]:
    """Turn "cannot reach it" and "it refuses writes" into StoreUnavailable; anything else is a fault of ours and
    stays."""
    try:
        yield
    except (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, OutOfMemoryError) as error:
        if isinstance(error, AuthenticationError):
            raise StoreUnavailable("the store does not accept our credentials") from error
        raise StoreUnavailable(_distrust(error)) from error
    except ResponseError as error:
        text = str(error)
        # A script that meets a closed door says so in words of its own.
        if isinstance(error, NoPermissionError) or any(words in text for words in _NOT_ALLOWED):
            raise StoreUnavailable("the store's access rules do not allow it; see `aragora-cp acl`") from error
        if any(word in text for word in _REFUSALS):
            raise StoreUnavailable from error
        raise


__all__ = ["RedisError", "connect", "translated"]
