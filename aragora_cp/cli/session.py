"""Session: the running control plane that a command talks to over HTTP, and how it is found."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click
import httpx

from aragora_cp._version import __version__
from aragora_cp.cli.failure import CommandFailed

F = TypeVar("F", bound=Callable[..., Any])

BASE_PATH = "/api/control-plane"
#: Longest wait that one request asks for, in seconds; longer waits ask again.
LONGEST_WAIT = 20.0
_ANSWER_TIMEOUT = 10.0


class Session:
    """One HTTP client. Every method raises CommandFailed with the problem's own words, or when nobody answers."""

    def __init__(self, url: str, token: str, workspace: str | None, *, client: httpx.Client | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}", "User-Agent": f"aragora-cp/{__version__}"}
        if workspace:
            headers["X-Workspace-ID"] = workspace
        self.url = url.rstrip("/")
        self._client = client or httpx.Client()
        self._headers = headers

    def request(
        self, method: str, path: str, *, body: Any = None, params: dict[str, Any] | None = None, wait: float = 0.0
    ) -> Any:
        """The answer's JSON, None when it has none. `wait`: seconds that the server was asked to wait."""
        try:
            response = self._client.request(
                method,
                f"{self.url}{BASE_PATH}{path}",
                json=body,
                params={name: value for name, value in (params or {}).items() if value is not None},
                headers=self._headers,
                timeout=_ANSWER_TIMEOUT + wait,
            )
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise CommandFailed(f"{self.url!r} is not the URL of a control plane") from error
        except httpx.TimeoutException as error:
            raise CommandFailed(f"no answer from {self.url} in time") from error
        except httpx.TransportError as error:
            raise CommandFailed(f"cannot reach {self.url}; is it running?") from error
        if response.is_success:
            return _json_of(response) if response.content else None
        raise CommandFailed(_problem(response))

    def task(self, task_id: str, *, wait: float = 0.0) -> dict[str, Any]:
        """A task; with `wait` as soon as it is final, or as it is after so many seconds."""
        found = self.request("GET", f"/tasks/{segment(task_id)}", params={"wait": wait or None}, wait=wait)
        assert isinstance(found, dict)
        return found

    def pages(self, path: str, params: dict[str, Any], most: int) -> Iterator[dict[str, Any]]:
        """Up to `most` items of a listing, page after page."""
        cursor = None
        while most > 0:
            page = self.request("GET", path, params={**params, "limit": min(most, 100), "cursor": cursor})
            yield from page["items"][:most]
            most -= len(page["items"])
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def close(self) -> None:
        self._client.close()


def segment(text: str) -> str:
    """`text` as one part of a path."""
    return quote(text, safe="")


def with_session(command: F) -> F:
    """Give a command its options to find a control plane, and `session` as its first argument."""

    @optional_session
    @functools.wraps(command)
    def wrapped(find: Callable[[], Session], *args: Any, **more: Any) -> Any:
        return command(find(), *args, **more)

    return wrapped  # type: ignore[return-value]


def optional_session(command: F) -> F:
    """As `with_session`, for a command that may do without one: its first argument finds the session."""

    @click.option("--url", envvar="ARAGORA_CP_URL", help="Where the control plane is; ARAGORA_CP_URL.")
    @click.option("--token", envvar="ARAGORA_CP_TOKEN", help="Bearer token; better given as ARAGORA_CP_TOKEN.")
    @click.option("--workspace", envvar="ARAGORA_CP_WORKSPACE", help="Workspace, for a platform token.")
    @click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        default=Path(".aragora"),
        show_default=True,
        help="Folder of a running `aragora-cp dev`, which tells URL and token.",
    )
    @functools.wraps(command)
    def wrapped(
        *args: Any, url: str | None, token: str | None, workspace: str | None, data_dir: Path, **more: Any
    ) -> Any:
        with ExitStack() as found:

            def find() -> Session:
                session = find_session(url, token, workspace, data_dir)
                found.callback(session.close)
                return session

            return command(find, *args, **more)

    return wrapped  # type: ignore[return-value]


def find_session(url: str | None, token: str | None, workspace: str | None, data_dir: Path) -> Session:
    """From what was given, completed by the `dev.json` of `data_dir` for the same URL. Raises CommandFailed."""
    dev = read_dev_file(data_dir)
    if dev and (url is None or url.rstrip("/") == dev.get("url")):
        url, token = url or dev.get("url"), token or dev.get("token")
    if not url:
        raise CommandFailed(
            "which control plane? Give --url and --token, set ARAGORA_CP_URL and ARAGORA_CP_TOKEN, "
            "or start `aragora-cp dev` in this folder"
        )
    if not token:
        raise CommandFailed("a token is needed; give --token or set ARAGORA_CP_TOKEN")
    if not token.isascii() or not token.isprintable():
        raise CommandFailed("this is not a token of ours")
    return Session(url, token, workspace)


def read_dev_file(data_dir: Path) -> dict[str, Any]:
    """What a running `aragora-cp dev` says of itself; empty when there is none."""
    try:
        found = json.loads((data_dir / "dev.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _json_of(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise CommandFailed(f"{response.url.host} answered something else than a control plane does") from error


def _problem(response: httpx.Response) -> str:
    """The problem document as one line."""
    try:
        problem = response.json()
        said = problem.get("detail") or problem.get("title")
        code = problem.get("code")
        fields = problem.get("errors") or {}
    except (ValueError, AttributeError):
        return f"the server answered {response.status_code} without a reason"
    told = "; ".join(f"{name}: {', '.join(map(str, texts))}" for name, texts in fields.items())
    return f"{told or said} ({code or response.status_code})"
