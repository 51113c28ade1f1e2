"""Who gets a function's traffic, as a value. Pure.

Every caller goes through the alias `Service`. An alias names one version and at most one other with
a share; `Traffic` is that, in percent, and its shares always sum to 100: there is no way to write
down an alias that sends anybody nowhere.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pipecd.errors import Refused

ALIAS = "Service"


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """`primary` gets what is left by `secondary`'s `percent` (0–100)."""

    primary: str
    secondary: str = ""
    percent: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.percent <= 100:
            raise ValueError(f"{self.percent} is not a percentage")
        if self.percent and not self.secondary:
            raise ValueError("a share needs a version to go to")

    @property
    def shares(self) -> Mapping[str, float]:
        shares = {self.primary: 100 - self.percent}
        if self.secondary and self.percent:
            shares[self.secondary] = self.percent
        return shares

    def routing(self) -> dict[str, dict[str, float]]:
        """As `RoutingConfig`; empty weights clear what an earlier call set."""
        if not self.percent:
            return {"AdditionalVersionWeights": {}}
        return {"AdditionalVersionWeights": {self.secondary: round(self.percent / 100, 4)}}

    def dump(self) -> str:
        return json.dumps({"primary": self.primary, "secondary": self.secondary, "percent": self.percent})


def load(text: str) -> Traffic:
    """What `Traffic.dump` wrote, or what PipeCD's agent wrote: a list of versions with percents."""
    data = json.loads(text)
    if isinstance(data, dict):
        return Traffic(**data)
    rows = [(str(row["version"]), float(row["percent"])) for row in data if row.get("version")]
    rows.sort(key=lambda row: -row[1])
    if not rows:
        raise Refused("the recorded traffic names no version", remedy="run LAMBDA_SYNC")
    if len(rows) == 1 or not rows[1][1]:
        return Traffic(primary=rows[0][0])
    return Traffic(primary=rows[0][0], secondary=rows[1][0], percent=rows[1][1])


def of_alias(alias: Mapping[str, object]) -> Traffic:
    """The traffic that AWS's answer to GetAlias describes."""
    routing = alias.get("RoutingConfig") or {}
    weights = routing.get("AdditionalVersionWeights") if isinstance(routing, dict) else None
    primary = str(alias["FunctionVersion"])
    for version, weight in (weights or {}).items():
        return Traffic(primary=primary, secondary=str(version), percent=round(float(weight) * 100, 2))
    return Traffic(primary=primary)


def promote(current: Traffic, version: str, percent: float) -> Traffic:
    """`version` gets `percent`; the rest stays with whoever had the traffic before it."""
    others = [name for name in (current.primary, current.secondary) if name and name != version]
    if percent >= 100 or not others:
        # A commit that changes nothing of the function has the version that serves already.
        return Traffic(primary=version)
    # What served the users before keeps serving the rest.
    return Traffic(primary=version, secondary=others[0], percent=100 - percent)
