"""How Lambda differs from moto: changes take time, versions have states, and aliases move slowly.

Sources: Lambda's developer guide (function states, provisioned concurrency) and the API reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.platforms.aws.emulator import Call, Failure

_IN_PROGRESS = "The operation cannot be performed at this time. An update is in progress for resource."
_CHANGES = ("UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion")


@dataclass
class LambdaRules:
    """The rules for one function with one alias."""

    #: How many times a change, or the state of a new version, is read before it is complete.
    reads: int = 1
    #: How many times the alias is read before a new version has its provisioned concurrency. 0: it has none.
    provisioned_reads: int = 0
    provisioned_failure: str = ""
    #: Version → why it fails.
    failing: dict[str, str] = field(default_factory=dict)
    _package_type: str = "Zip"
    _creating: int = 0
    _updating: int = 0
    _pending: dict[str, int] = field(default_factory=dict)
    _published: set[str] = field(default_factory=set)
    #: The version of the alias, and the one that keeps the traffic for some more reads.
    _alias: str = ""
    _moving: tuple[str, int] = ("", 0)

    def refuse(self, call: Call) -> Failure | None:
        name = call.name.removeprefix("lambda.")
        if name in _CHANGES and (self._creating or self._updating):
            return _failure(call, 409, "ResourceConflictException", _IN_PROGRESS)
        if name == "UpdateFunctionCode" and ("ImageUri" in call.body) != (self._package_type == "Image"):
            text = (
                "Please don't provide ImageUri when updating a function with packageType Zip."
                if self._package_type == "Zip"
                else "Please provide ImageUri when updating a function with packageType Image."
            )
            return _failure(call, 400, "InvalidParameterValueException", text)
        if name == "GetProvisionedConcurrencyConfig" and not self.provisioned_reads:
            return _failure(call, 404, "ProvisionedConcurrencyConfigNotFoundException", "No config found")
        return None

    def translate(self, _: Call) -> None:
        return None

    def answer(self, call: Call) -> Any:
        if call.name != "lambda.GetProvisionedConcurrencyConfig":
            return None
        if self.provisioned_failure:
            return {"Status": "FAILED", "StatusReason": self.provisioned_failure}
        return {"Status": "IN_PROGRESS" if self._moving[1] else "READY"}

    def violations(self, call: Call) -> Sequence[str]:
        name = call.name.removeprefix("lambda.")
        if name not in ("UpdateAlias", "CreateAlias"):
            return ()
        weights = (call.body.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
        unusable = [
            version
            for version in (call.body["FunctionVersion"], *weights)
            if self._pending.get(version) or version in self.failing
        ]
        found = [f"the alias was routed to version {version} before it was active" for version in unusable]
        if name == "UpdateAlias" and self._moving[1] and call.body["FunctionVersion"] == self._alias:
            found.append("the alias was updated while AWS was moving it to the same version")
        return found

    def amend(self, call: Call, response: Any) -> None:
        match call.name.removeprefix("lambda."):
            case "CreateFunction":
                self._package_type = call.body.get("PackageType", "Zip")
                self._creating = self.reads
            case "UpdateFunctionCode" | "UpdateFunctionConfiguration":
                self._updating = self.reads
            case "PublishVersion":
                if response["Version"] not in self._published:
                    self._published.add(response["Version"])
                    self._pending[response["Version"]] = self.reads
            case "DeleteFunction":
                self.failing.pop(call.query.get("Qualifier", ""), None)
            case "GetFunction":
                self._amend_function(call.query.get("Qualifier", ""), response["Configuration"])
            case "CreateAlias" | "UpdateAlias":
                self._move_alias(call.body["FunctionVersion"])
            case "GetAlias":
                self._amend_alias(response)

    def _amend_function(self, version: str, live: Any) -> None:
        if version in self.failing:
            live.update(State="Failed", StateReason=self.failing[version], StateReasonCode="InvalidImage")
        elif self._pending.get(version):
            self._pending[version] -= 1
            live.update(State="Pending", StateReason="The function is being created.")
        elif not version and self._creating:
            self._creating -= 1
            live.update(State="Pending", StateReason="The function is being created.")
        elif not version and self._updating:
            self._updating -= 1
            live["LastUpdateStatus"] = "InProgress"

    def _move_alias(self, version: str) -> None:
        if self.provisioned_reads and self._alias and version != self._alias:
            self._moving = (self._alias, self.provisioned_reads)
        self._alias = version

    def _amend_alias(self, response: Any) -> None:
        old, reads = self._moving
        if reads and response["FunctionVersion"] == self._alias:
            self._moving = (old, reads if self.provisioned_failure else reads - 1)
            response["RoutingConfig"] = {"AdditionalVersionWeights": {old: 1.0}}


def _failure(call: Call, status: int, code: str, message: str) -> Failure:
    return Failure(name=call.name, status=status, code=code, message=message)
