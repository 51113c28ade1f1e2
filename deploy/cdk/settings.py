"""The settings of the CDK app, from the context (`cdk deploy -c name=value`) or `cdk.json`."""

import re
from dataclasses import dataclass
from typing import Any

from constructs import Node

#: App Runner splits the start command at blanks and expands nothing.
ARGUMENT_PATTERN = re.compile(r"[A-Za-z0-9_=./:@,+-]+")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings described in `app.py`. Raises ValueError that names an invalid or missing setting."""

    secret_arn: str
    name: str = "piped"
    kms_key_arn: str = ""
    repository: str = "piped-launcher"
    image_tag: str = "latest"
    cpu: str = "256"
    memory: str = "512"
    cpu_architecture: str = "X86_64"
    spot: str = "false"
    vpc_id: str = ""
    policies: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    lambda_functions: tuple[str, ...] = ()
    lambda_roles: tuple[str, ...] = ()
    lambda_layers: tuple[str, ...] = ()
    lambda_in_vpc: str = "false"
    artifact_buckets: tuple[str, ...] = ()
    image_repositories: tuple[str, ...] = ()
    ecs_services: tuple[str, ...] = ()
    ecs_families: tuple[str, ...] = ()
    ecs_roles: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.secret_arn.startswith("arn:"):
            raise ValueError("secret_arn: set the secret's ARN: -c secret_arn=arn:aws:secretsmanager:…")
        for argument in self.arguments:
            if not ARGUMENT_PATTERN.fullmatch(argument):
                raise ValueError(f"arguments: {argument!r}: App Runner splits at blanks; write --flag=value")
        for service in self.ecs_services:
            if service.count("/") != 1:
                raise ValueError(f"ecs_services: {service!r}: write cluster/service")
        if self.ecs_services and not self.ecs_families:
            raise ValueError("ecs_families: name the families of the services' task definitions")
        if self.cpu_architecture not in ("X86_64", "ARM64"):
            raise ValueError(f"cpu_architecture: {self.cpu_architecture!r}: use X86_64 or ARM64")
        for setting in ("spot", "lambda_in_vpc"):
            if getattr(self, setting).lower() not in ("true", "false"):
                raise ValueError(f"{setting}: {getattr(self, setting)!r}: use true or false")
        for setting in ("lambda_layers", "artifact_buckets", "image_repositories"):
            for arn in getattr(self, setting):
                if not arn.startswith("arn:"):
                    raise ValueError(f"{setting}: {arn!r}: use an ARN")
        if self.vpc_id and self.vpc_id != "default" and not self.vpc_id.startswith("vpc-"):
            raise ValueError(f"vpc_id: {self.vpc_id!r}: use an id such as vpc-0123, or default")

    @classmethod
    def from_context(cls, node: Node) -> "Settings":
        settings: dict[str, Any] = {}
        for key in cls.__dataclass_fields__:
            value = node.try_get_context(key)
            if value is None:
                continue
            settings[key] = tuple(_as_list(value)) if isinstance(getattr(cls, key, ""), tuple) else str(value)
        settings.setdefault("secret_arn", "")
        return cls(**settings)

    def command(self, *flags: str) -> list[str]:
        """The container's command: the configuration is read from the secret at startup."""
        return [
            "launcher",
            *flags,
            "--config-from-aws-secret=true",
            f"--aws-secret-id={self.secret_arn}",
            *self.arguments,
        ]


def _as_list(value: Any) -> list[str]:
    """A list in `cdk.json`, or comma-separated values on the command line."""
    return [str(item) for item in value] if isinstance(value, list) else str(value).split(",")
