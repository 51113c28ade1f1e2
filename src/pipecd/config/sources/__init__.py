"""Where a program's configuration comes from: exactly one of several flags.

`chosen` turns flags into a `Source`, which `piped` reads once and `launcher` again and again. What a cloud
needs is imported when its flag is given. Nothing that is read appears in an error.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipecd.config.sources.aws import ParameterStore, SecretsManager
from pipecd.config.sources.gcp import SecretManager
from pipecd.config.sources.local import Data, File
from pipecd.config.sources.text import Source, Text
from pipecd.errors import ConfigError

__all__ = ["PIPED_SOURCES", "Kind", "Source", "Text", "chosen", "read"]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to give a configuration: how its flag is shown, and what reads it."""

    metavar: str
    help: str
    open: Callable[[str], Source]


PIPED_SOURCES: Mapping[str, Kind] = {
    "--config-file": Kind(metavar="PATH", help="The agent's configuration file.", open=File),
    "--config-data": Kind(metavar="BASE64", help="The configuration itself, as base64.", open=Data),
    "--config-aws-secret": Kind(
        metavar="ARN", help="A secret of AWS Secrets Manager: its ARN or name.", open=SecretsManager
    ),
    "--config-aws-ssm-parameter": Kind(
        metavar="NAME", help="A parameter of AWS Systems Manager.", open=ParameterStore
    ),
    "--config-gcp-secret": Kind(
        metavar="ID",
        help="A secret of Google Cloud: projects/P/secrets/S/versions/V.",
        open=SecretManager,
    ),
}


def chosen(given: Mapping[str, str], kinds: Mapping[str, Kind] = PIPED_SOURCES) -> Source:
    """`given` maps flags to their values; empty values count as not given. Raises ConfigError."""
    filled = {flag: value for flag, value in given.items() if value}
    if len(filled) != 1:
        what = f"{' and '.join(filled)} are both given" if filled else "no configuration is given"
        raise ConfigError(what, remedy=f"give exactly one of {', '.join(kinds)}")
    flag, value = next(iter(filled.items()))
    return kinds[flag].open(value)


async def read(given: Mapping[str, str]) -> Text:
    """The configuration that the flags name. Raises ConfigError, or Temporary when a cloud is away."""
    return await chosen(given).read()
