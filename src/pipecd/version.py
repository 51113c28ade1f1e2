"""The `version` command of `pipecd`, `piped` and `launcher`, for scripts. Registered in `__main__`."""

import click

from pipecd import __version__


@click.command("version")
def command() -> None:
    """Print the version."""
    click.echo(f"v{__version__}")
