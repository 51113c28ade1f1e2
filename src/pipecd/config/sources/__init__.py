"""Configuration sources, selected by exactly one of several flags.

`choose_source` converts flags to a `Source`, which `piped` reads once and `launcher` repeatedly. A cloud SDK
is imported only when its flag is given. Error messages never contain any of the configuration's content.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipecd.config.sources.aws import ParameterStore, SecretsManager
from pipecd.config.sources.gcp import SecretManager
from pipecd.config.sources.local import Data, File
from pipecd.config.sources.text import Source, Text
from pipecd.errors import ConfigError

__all__ = ["PIPED_SOURCES", "Source", "SourceType", "Text", "choose_source", "read"]


@dataclass(frozen=True, kw_only=True)
class SourceType:
    """A type of configuration source: the help of its flag, and what opens it for the flag's value."""

    metavar: str
    help: str
    open: Callable[[str], Source]


PIPED_SOURCES: Mapping[str, SourceType] = {
    "--config-file": SourceType(metavar="PATH", help="The agent's configuration file.", open=File),
    "--config-data": SourceType(
        metavar="BASE64", help="The configuration file's content as base64.", open=Data
    ),
    "--config-aws-secret": SourceType(
        metavar="ARN", help="ARN or name of a secret in AWS Secrets Manager.", open=SecretsManager
    ),
    "--config-aws-ssm-parameter": SourceType(
        metavar="NAME", help="A parameter in AWS Systems Manager.", open=ParameterStore
    ),
    "--config-gcp-secret": SourceType(
        metavar="ID",
        help="A secret in Google Cloud: projects/P/secrets/S/versions/V.",
        open=SecretManager,
    ),
}


def choose_source(given: Mapping[str, str], source_types: Mapping[str, SourceType] = PIPED_SOURCES) -> Source:
    """The source of the only flag with a value. `given` maps flags to values. Raises ConfigError."""
    values = {flag: value for flag, value in given.items() if value}
    if len(values) != 1:
        what = f"{' and '.join(values)} are both given" if values else "no configuration is given"
        raise ConfigError(what, remedy=f"give exactly one of {', '.join(source_types)}")
    flag, value = next(iter(values.items()))
    return source_types[flag].open(value)


async def read(given: Mapping[str, str]) -> Text:
    """Read the configuration of the flags. Raises ConfigError, or Temporary if a cloud is unavailable."""
    return await choose_source(given).read()
