"""The traffic of a service, as values. Pure.

`spec.traffic` lists revisions with a percentage, and tags: each gives a revision an address of its own. Tags
that others set are kept; those of an agent begin with `TAG_PREFIX`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipecd.json_input import decode_json

#: The percentage of each revision; they sum to 100.
Shares = Mapping[str, int]
TAG_PREFIX = "pipecd-"
#: A tag and the service's name are parts of a host name, of at most 63 characters.
MAX_TAG_AND_NAME = 46
#: Of an address (characters).
MAX_URL = 2000


def shares_of(service: Mapping[str, Any]) -> Shares:
    """What the service's revisions receive, as Cloud Run reports it."""
    shares: dict[str, int] = {}
    for target in (service.get("status") or {}).get("traffic") or ():
        if target.get("percent") and target.get("revisionName"):
            shares[target["revisionName"]] = shares.get(target["revisionName"], 0) + int(target["percent"])
    return shares


def promote(before: Shares, revision: str, percent: int) -> Shares:
    """`revision` gets `percent`; the other revisions get the rest, in their proportions before."""
    others = {name: share for name, share in before.items() if name != revision and share > 0}
    if percent >= 100 or not others:
        return {revision: 100}
    rest = 100 - percent
    total = sum(others.values())
    exact = {name: share * rest / total for name, share in others.items()}
    shares = {name: int(share) for name, share in exact.items()}
    # The largest remainders get what rounding left over.
    left = rest - sum(shares.values())
    for name in sorted(exact, key=lambda name: (shares[name] - exact[name], name))[:left]:
        shares[name] += 1
    shares[revision] = percent
    return {name: share for name, share in shares.items() if share}


def tags_of(service: Mapping[str, Any]) -> Mapping[str, str]:
    """Tag → revision, of the live service. A tag of the latest revision names the revision that it is now."""
    return {
        str(target["tag"]): str(target["revisionName"])
        for target in (service.get("status") or {}).get("traffic") or ()
        if target.get("tag") and target.get("revisionName")
    }


def targets(
    shares: Shares,
    live: Sequence[Mapping[str, Any]],
    declared: Sequence[Mapping[str, Any]],
    revision: str,
    tag: str,
) -> list[dict[str, Any]]:
    """`spec.traffic`. `live` and `declared` are the lists of the service and of its manifest.

    `tag` is the tag of `revision`, empty for none. Tags of earlier deployments are dropped, others kept;
    those of the manifest take precedence, and its tag of the latest revision is one of `revision`.
    """
    tagged: dict[str, dict[str, Any]] = {}
    for target in live:
        if target.get("tag") and not str(target["tag"]).startswith(TAG_PREFIX):
            point = (
                {"latestRevision": True}
                if target.get("latestRevision")
                else {"revisionName": target.get("revisionName")}
            )
            tagged[str(target["tag"])] = point
    for target in declared:
        if target.get("tag"):
            tagged[str(target["tag"])] = {"revisionName": target.get("revisionName") or revision}
    if tag:
        tagged[tag] = {"revisionName": revision}
    percents = [{"revisionName": name, "percent": share} for name, share in shares.items() if share]
    return [*percents, *({**point, "percent": 0, "tag": name} for name, point in tagged.items())]


def same_targets(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> bool:
    """Whether two lists mean the same: the shares and the tags."""
    return _meaning(one) == _meaning(other)


def _meaning(listed: Sequence[Mapping[str, Any]]) -> tuple[dict[str, int], dict[str, str]]:
    percents: dict[str, int] = {}
    tags: dict[str, str] = {}
    for target in listed:
        point = "latest" if target.get("latestRevision") else str(target.get("revisionName"))
        if target.get("percent"):
            percents[point] = percents.get(point, 0) + int(target["percent"])
        if target.get("tag"):
            tags[str(target["tag"])] = point
    return percents, tags


def tag_of(service: str, commit: str) -> str:
    """The tag of a commit's revision; empty if the service's name is too long for one."""
    tag = f"{TAG_PREFIX}{commit[:7].lower().strip('-')}"
    return tag if len(service) + len(tag) <= MAX_TAG_AND_NAME else ""


def url_of_tag(service: Mapping[str, Any], tag: str) -> str:
    """The address of the revision with the tag; empty while Cloud Run has not published it."""
    for target in (service.get("status") or {}).get("traffic") or ():
        if tag and target.get("tag") == tag:
            return str(target.get("url") or "")[:MAX_URL]
    return ""


def describe(shares: Shares) -> str:
    return ", ".join(f"{share} % to {name}" for name, share in shares.items())


def dump(shares: Shares) -> str:
    return json.dumps(dict(shares))


def load(text: str) -> Shares:
    return {str(name): int(share) for name, share in decode_json(text).items()}
