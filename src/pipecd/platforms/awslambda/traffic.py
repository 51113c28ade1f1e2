"""The traffic split of a function's alias, as a value. Pure.

Every caller goes through the alias `Service`. An alias names one version and at most one other with
a weight; `Traffic` is that split in percent. Its shares always sum to 100, so an alias that sends
traffic nowhere cannot be expressed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pipecd.errors import Refused
from pipecd.json_input import decode_json

ALIAS = "Service"


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """`secondary` gets `percent` (0–100) of the traffic, `primary` the rest."""

    primary: str
    secondary: str = ""
    percent: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.percent <= 100:
            raise ValueError(f"{self.percent} is not a percentage")
        if self.percent and not self.secondary:
            raise ValueError("percent needs a secondary version")

    @property
    def shares(self) -> Mapping[str, float]:
        shares = {self.primary: 100 - self.percent}
        if self.secondary and self.percent:
            shares[self.secondary] = self.percent
        return shares

    def routing(self) -> dict[str, dict[str, float]]:
        """The API's `RoutingConfig`; empty weights clear those set by an earlier call."""
        if not self.percent:
            return {"AdditionalVersionWeights": {}}
        return {"AdditionalVersionWeights": {self.secondary: round(self.percent / 100, 4)}}

    def dump(self) -> str:
        return json.dumps({"primary": self.primary, "secondary": self.secondary, "percent": self.percent})


def parse_traffic(text: str) -> Traffic:
    """Parses the output of `Traffic.dump`, or of PipeCD's agent: a list of versions with percentages."""
    data = decode_json(text)
    if isinstance(data, dict):
        return Traffic(**data)
    rows = [(str(row["version"]), float(row["percent"])) for row in data if row.get("version")]
    rows.sort(key=lambda row: -row[1])
    if not rows:
        raise Refused("the recorded traffic names no version", remedy="run LAMBDA_SYNC")
    if len(rows) == 1 or not rows[1][1]:
        return Traffic(primary=rows[0][0])
    return Traffic(primary=rows[0][0], secondary=rows[1][0], percent=rows[1][1])


def parse_alias(alias: Mapping[str, object]) -> Traffic:
    """The traffic split in a response to GetAlias."""
    routing = alias.get("RoutingConfig") or {}
    weights = routing.get("AdditionalVersionWeights") if isinstance(routing, dict) else None
    primary = str(alias["FunctionVersion"])
    for version, weight in (weights or {}).items():
        return Traffic(primary=primary, secondary=str(version), percent=round(float(weight) * 100, 2))
    return Traffic(primary=primary)


def promote(current: Traffic, version: str, percent: float) -> Traffic:
    """`version` gets `percent`; the rest stays with the version that had the traffic before."""
    others = [name for name in (current.primary, current.secondary) if name and name != version]
    if percent >= 100 or not others:
        # A commit that does not change the function publishes the version that already serves.
        return Traffic(primary=version)
    return Traffic(primary=version, secondary=others[0], percent=100 - percent)
