"""Client of the Lambda API: one API call per method, responses as values. The stages make the decisions.

A stage that was interrupted while publishing may publish again: AWS creates no second version of the same
code and configuration. The description of a version contains the token of the stage that published it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pipecd.errors import NotFound
from pipecd.platforms import aws
from pipecd.platforms.awslambda.function import LambdaFunction, architectures, configuration
from pipecd.platforms.awslambda.traffic import ALIAS, Traffic, parse_alias

#: Prefix of the description of versions that an agent published.
DESCRIPTION_PREFIX = "pipecd "


@dataclass(frozen=True, kw_only=True)
class Function:
    """The live function or a version of it. `state` and `update` are AWS's `State` and `LastUpdateStatus`."""

    arn: str
    #: `Zip` or `Image`. AWS cannot change it.
    package_type: str
    state: str
    state_reason: str
    update: str
    update_reason: str
    configuration: Mapping[str, Any]
    image: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ProvisionedConcurrency:
    """Provisioned concurrency of the alias. `status` is AWS's value (IN_PROGRESS, READY, FAILED)."""

    status: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Alias:
    """`revision` guards the next update: AWS rejects it if the alias was changed in between."""

    traffic: Traffic
    revision: str


@asynccontextmanager
async def connect(provider: aws.AwsProvider) -> AsyncIterator["LambdaClient"]:
    async with aws.client("lambda", provider) as sdk:
        yield LambdaClient(sdk)


class LambdaClient:
    def __init__(self, sdk: Any) -> None:
        self._sdk = sdk

    async def get_function(self, name: str, version: str = "") -> Function | None:
        """The unpublished function, or the published `version`. None if it does not exist."""
        qualifier = {"Qualifier": version} if version else {}
        try:
            with aws.translate_errors("lambda"):
                response = await self._sdk.get_function(FunctionName=name, **qualifier)
        except NotFound:
            return None
        live = response["Configuration"]
        return Function(
            arn=live["FunctionArn"],
            package_type=live.get("PackageType", "Zip"),
            state=live.get("State", "Active"),
            state_reason=live.get("StateReason", ""),
            update=live.get("LastUpdateStatus", "Successful"),
            update_reason=live.get("LastUpdateStatusReason", ""),
            configuration=live,
            image=response.get("Code", {}).get("ImageUri", ""),
            tags=response.get("Tags", {}),
        )

    async def create_function(
        self, desired: LambdaFunction, code: Mapping[str, Any], tags: Mapping[str, str]
    ) -> None:
        with aws.translate_errors("lambda"):
            await self._sdk.create_function(
                **configuration(desired),
                Code=dict(code),
                PackageType=desired.package_type,
                Architectures=architectures(desired),
                Tags=dict(tags),
            )

    async def update_code(self, desired: LambdaFunction, code: Mapping[str, Any]) -> None:
        with aws.translate_errors("lambda"):
            await self._sdk.update_function_code(
                FunctionName=desired.name, Architectures=architectures(desired), **code
            )

    async def update_configuration(self, desired: LambdaFunction) -> None:
        with aws.translate_errors("lambda"):
            await self._sdk.update_function_configuration(**configuration(desired))

    async def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        with aws.translate_errors("lambda"):
            await self._sdk.tag_resource(Resource=arn, Tags=dict(tags))

    async def untag(self, arn: str, keys: Sequence[str]) -> None:
        with aws.translate_errors("lambda"):
            await self._sdk.untag_resource(Resource=arn, TagKeys=list(keys))

    async def publish_version(self, name: str, token: str) -> str:
        """The new version number, or the latest one if nothing changed since."""
        with aws.translate_errors("lambda"):
            response = await self._sdk.publish_version(
                FunctionName=name, Description=DESCRIPTION_PREFIX + token
            )
        return str(response["Version"])

    async def list_versions(self, name: str) -> AsyncIterator[Mapping[str, Any]]:
        """Every published version from all pages, oldest first."""
        with aws.translate_errors("lambda"):
            async for page in self._sdk.get_paginator("list_versions_by_function").paginate(
                FunctionName=name
            ):
                for version in page["Versions"]:
                    if version["Version"] != "$LATEST":
                        yield version

    async def list_routed_versions(self, name: str) -> set[str]:
        """Every version that receives traffic from any alias."""
        routed: set[str] = set()
        with aws.translate_errors("lambda"):
            async for page in self._sdk.get_paginator("list_aliases").paginate(FunctionName=name):
                for alias in page["Aliases"]:
                    traffic = parse_alias(alias)
                    routed |= {traffic.primary, *([traffic.secondary] if traffic.secondary else [])}
        return routed

    async def delete_version(self, name: str, version: str) -> None:
        with aws.translate_errors("lambda"):
            await self._sdk.delete_function(FunctionName=name, Qualifier=version)

    async def get_alias(self, name: str) -> Alias | None:
        try:
            with aws.translate_errors("lambda"):
                response = await self._sdk.get_alias(FunctionName=name, Name=ALIAS)
        except NotFound:
            return None
        return Alias(traffic=parse_alias(response), revision=response.get("RevisionId", ""))

    async def get_provisioned_concurrency(self, name: str) -> ProvisionedConcurrency | None:
        """None if the alias has none."""
        try:
            with aws.translate_errors("lambda"):
                response = await self._sdk.get_provisioned_concurrency_config(
                    FunctionName=name, Qualifier=ALIAS
                )
        except NotFound:
            return None
        return ProvisionedConcurrency(status=response["Status"], reason=response.get("StatusReason", ""))

    async def create_alias(self, name: str, version: str) -> None:
        with aws.translate_errors("lambda"):
            await self._sdk.create_alias(FunctionName=name, Name=ALIAS, FunctionVersion=version)

    async def update_alias(self, name: str, traffic: Traffic, revision: str) -> None:
        """Update the alias to `traffic`. Raises Conflict if it changed after `revision` was read."""
        precondition = {"RevisionId": revision} if revision else {}
        with aws.translate_errors("lambda"):
            await self._sdk.update_alias(
                FunctionName=name,
                Name=ALIAS,
                FunctionVersion=traffic.primary,
                RoutingConfig=traffic.routing(),
                **precondition,
            )
