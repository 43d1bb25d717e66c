"""CommandFailed: how a command ends when it did not work."""

from __future__ import annotations

import click


class CommandFailed(click.ClickException):
    """One line on standard error, exit status 1."""

    exit_code = 1
