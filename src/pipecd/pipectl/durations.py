"""Durations as options of commands."""

from datetime import timedelta

import click

from pipecd.config.values import duration


def parse_duration(_: click.Context, __: click.Parameter, text: str) -> timedelta:
    """A callback of an option. Raises BadParameter."""
    try:
        return duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
