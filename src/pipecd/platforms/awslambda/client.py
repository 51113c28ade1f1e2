"""Talking to Lambda: one call each, answers as values. Deciding is left to the stages.

A stage that was cut off while it published may publish again: AWS makes no second version of the same code
and configuration. The description of a version says which stage it came from.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pipecd.errors import NotFound
from pipecd.platforms import aws
from pipecd.platforms.awslambda.function import LambdaFunction, architectures, configuration
from pipecd.platforms.awslambda.traffic import ALIAS, Traffic, of_alias

#: How the description of a version that this agent published begins.
TOKEN_PREFIX = "pipecd "


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function as AWS sees it now; `state` (Active) and `update` (Successful, InProgress) are AWS words."""

    arn: str
    state: str
    state_reason: str
    update: str
    update_reason: str
    configuration: Mapping[str, Any]
    image: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Alias:
    """`revision` fences the next change: AWS refuses it when somebody else changed the alias since."""

    traffic: Traffic
    revision: str


@asynccontextmanager
async def connect(provider: aws.AwsProvider) -> AsyncIterator["Lambda"]:
    async with aws.client("lambda", provider) as sdk:
        yield Lambda(sdk)


class Lambda:
    def __init__(self, sdk: Any) -> None:
        self._sdk = sdk

    async def function(self, name: str, version: str = "") -> Function | None:
        """As it would be published now; with `version`, as it was published then."""
        qualifier = {"Qualifier": version} if version else {}
        try:
            with aws.errors_in_our_words("lambda"):
                answer = await self._sdk.get_function(FunctionName=name, **qualifier)
        except NotFound:
            return None
        live = answer["Configuration"]
        return Function(
            arn=live["FunctionArn"],
            state=live.get("State", "Active"),
            state_reason=live.get("StateReason", ""),
            update=live.get("LastUpdateStatus", "Successful"),
            update_reason=live.get("LastUpdateStatusReason", ""),
            configuration=live,
            image=answer.get("Code", {}).get("ImageUri", ""),
            tags=answer.get("Tags", {}),
        )

    async def create(self, wanted: LambdaFunction, code: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        with aws.errors_in_our_words("lambda"):
            await self._sdk.create_function(
                **configuration(wanted),
                Code=dict(code),
                PackageType="Image" if wanted.image else "Zip",
                Architectures=architectures(wanted),
                Tags=dict(tags),
            )

    async def send_code(self, wanted: LambdaFunction, code: Mapping[str, Any]) -> None:
        with aws.errors_in_our_words("lambda"):
            await self._sdk.update_function_code(
                FunctionName=wanted.name, Architectures=architectures(wanted), **code
            )

    async def send_configuration(self, wanted: LambdaFunction) -> None:
        with aws.errors_in_our_words("lambda"):
            await self._sdk.update_function_configuration(**configuration(wanted))

    async def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        with aws.errors_in_our_words("lambda"):
            await self._sdk.tag_resource(Resource=arn, Tags=dict(tags))

    async def untag(self, arn: str, keys: Sequence[str]) -> None:
        with aws.errors_in_our_words("lambda"):
            await self._sdk.untag_resource(Resource=arn, TagKeys=list(keys))

    async def publish(self, name: str, token: str) -> str:
        """The new version; where nothing has changed since the last one, AWS answers with that."""
        with aws.errors_in_our_words("lambda"):
            answer = await self._sdk.publish_version(FunctionName=name, Description=TOKEN_PREFIX + token)
        return str(answer["Version"])

    async def versions(self, name: str) -> AsyncIterator[Mapping[str, Any]]:
        """Every published version, to the last page, oldest first."""
        with aws.errors_in_our_words("lambda"):
            async for page in self._sdk.get_paginator("list_versions_by_function").paginate(
                FunctionName=name
            ):
                for version in page["Versions"]:
                    if version["Version"] != "$LATEST":
                        yield version

    async def routed_versions(self, name: str) -> set[str]:
        """Every version that any alias sends traffic to."""
        routed: set[str] = set()
        with aws.errors_in_our_words("lambda"):
            async for page in self._sdk.get_paginator("list_aliases").paginate(FunctionName=name):
                for alias in page["Aliases"]:
                    traffic = of_alias(alias)
                    routed |= {traffic.primary, *([traffic.secondary] if traffic.secondary else [])}
        return routed

    async def delete_version(self, name: str, version: str) -> None:
        with aws.errors_in_our_words("lambda"):
            await self._sdk.delete_function(FunctionName=name, Qualifier=version)

    async def alias(self, name: str) -> Alias | None:
        try:
            with aws.errors_in_our_words("lambda"):
                answer = await self._sdk.get_alias(FunctionName=name, Name=ALIAS)
        except NotFound:
            return None
        return Alias(traffic=of_alias(answer), revision=answer.get("RevisionId", ""))

    async def create_alias(self, name: str, version: str) -> None:
        with aws.errors_in_our_words("lambda"):
            await self._sdk.create_alias(FunctionName=name, Name=ALIAS, FunctionVersion=version)

    async def route(self, name: str, traffic: Traffic, revision: str) -> None:
        """Turns the alias to `traffic`. Raises Conflict when it changed after `revision` was read."""
        fence = {"RevisionId": revision} if revision else {}
        with aws.errors_in_our_words("lambda"):
            await self._sdk.update_alias(
                FunctionName=name,
                Name=ALIAS,
                FunctionVersion=traffic.primary,
                RoutingConfig=traffic.routing(),
                **fence,
            )
