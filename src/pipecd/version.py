"""`piped version` and its like, as scripts ask for it. Named in `__main__`."""

import click

from pipecd import __version__


@click.command("version")
def command() -> None:
    """Tell the version."""
    click.echo(f"v{__version__}")
