"""Decisions of users about a stage that waits for approval: who approved or rejected it, when and why.

`stages.approval` and `model.progress` store them in the stage's metadata, where the console reads them.
PipeCD stores only the names of the users who approved.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pipecd.json_input import decode_json

#: Key of stage metadata, not in PipeCD: the decisions as a JSON list, oldest first.
DECISIONS = "pipecd/decisions"


class Verdict(StrEnum):
    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """`at` is epoch seconds."""

    by: str
    verdict: Verdict
    comment: str = ""
    at: int = 0


def save_decisions(saved: Mapping[str, str], made: Iterable[Decision]) -> dict[str, str]:
    """The metadata of the decisions in `saved` and those `made` since; empty without new ones."""
    records = [
        {"by": item.by, "verdict": item.verdict, "comment": item.comment, "at": item.at} for item in made
    ]
    if not records:
        return {}
    return {DECISIONS: json.dumps(_load(saved) + records)}


def _load(saved: Mapping[str, str]) -> list[object]:
    try:
        loaded = decode_json(saved.get(DECISIONS, "[]"))
    except ValueError:
        return []
    return loaded if isinstance(loaded, list) else []


def one_line(comment: str) -> str:
    return " ".join(comment.split())
