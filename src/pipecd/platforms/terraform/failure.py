"""Terraform's own words for what went wrong → an error with a remedy. Fed line by line while it runs."""

import itertools
import re

from pipecd.errors import PipecdError, Refused, Temporary

LOGGED = "the stage's log has all that it says"
NEW_PLAN = "sync the application again to get a new plan"
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_STALE = ("Saved plan is stale", "Saved plan does not match the given state")
#: What passes by itself while providers and modules are fetched.
_PASSING = re.compile(
    r"i/o timeout|TLS handshake timeout|connection re(?:fused|set)|Client\.Timeout exceeded|unexpected EOF"
    r"|temporary failure in name resolution|\b(?:429 Too Many Requests|50[234] [A-Z]\w+)",
    re.IGNORECASE,
)
_WHERE = re.compile(r"on (\S+ line \d+)")
#: A headline that only announces others.
_ANNOUNCEMENT = "Terraform encountered problems during initiali"
#: Longer output says nothing more about the first error.
_MOST_LINES = 200


class Stale(Refused):
    """A saved plan that does not fit the state any more."""


class Account:
    """What one run of Terraform said about errors. `remedy` is where to read the rest."""

    def __init__(self, remedy: str = LOGGED) -> None:
        self._remedy = remedy
        self._lines: list[str] = []

    def hear(self, line: str) -> None:
        plain = _COLOUR.sub("", line).strip("╷│╵ \t")
        if (self._lines or plain.startswith("Error: ")) and len(self._lines) < _MOST_LINES:
            self._lines.append(plain)

    @property
    def first(self) -> str:
        """The first error that tells something, and where it is; empty when there was none.

        Not its details, which may hold values.
        """
        heads = [number for number, line in enumerate(self._lines) if line.startswith("Error: ")]
        telling = [number for number in heads if _ANNOUNCEMENT not in self._lines[number]]
        for number in telling or heads:
            following = itertools.takewhile(
                lambda line: not line.startswith("Error: "), self._lines[number + 1 :]
            )
            places = (_WHERE.match(line) for line in following)
            where = next((f" ({place[1]})" for place in places if place), "")
            return self._lines[number].removeprefix("Error: ") + where
        return ""

    def says(self, words: str) -> bool:
        return any(words in line for line in self._lines)

    def error(self, command: str, code: int) -> PipecdError:
        """For a run of `terraform <command>` that ended with `code`."""
        if any(self.says(words) for words in _STALE):
            return Stale(
                "the state has changed since this plan was shown, so the plan is not applied",
                remedy=NEW_PLAN,
            )
        if self.says("Error acquiring the state lock"):
            return self._locked()
        if command == "init" and (passing := _PASSING.search("\n".join(self._lines))):
            return Temporary(f"terraform init could not fetch everything: {passing[0]}")
        told = self.first or (f"it was ended by signal {-code}" if code < 0 else f"it ended with code {code}")
        return Refused(f"terraform {command}: {told}", remedy=self._remedy)

    def _locked(self) -> Refused:
        who = self._fact("Who") or "somebody"
        since = f" since {created}" if (created := self._fact("Created")) else ""
        lock = self._fact("ID")
        free = f"`terraform force-unlock {lock}`" if lock else "`terraform force-unlock`"
        return Refused(
            f"the state is locked by {who}{since}",
            remedy=f"wait until that ends; when nobody is at work any more, free it with {free}",
        )

    def _fact(self, name: str) -> str:
        found = (re.match(rf"{name}:\s+(\S.*)", line) for line in self._lines)
        return next((match[1] for match in found if match), "")
