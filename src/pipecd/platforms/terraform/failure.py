"""Converts Terraform's error output to an error with a remedy. Receives the output line by line."""

import itertools
import re

from pipecd.errors import PipecdError, Refused, Temporary
from pipecd.git.command import download_error

SEE_STAGE_LOG = "see the stage log for the full output"
NEW_PLAN = "sync the application again to create a new plan"
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_STALE = ("Saved plan is stale", "Saved plan does not match the given state")
#: Errors that are temporary while providers and modules are downloaded.
_TEMPORARY = re.compile(
    r"i/o timeout|TLS handshake timeout|connection re(?:fused|set)|Client\.Timeout exceeded|unexpected EOF"
    r"|temporary failure in name resolution|\b(?:429 Too Many Requests|50[234] [A-Z]\w+)",
    re.IGNORECASE,
)
_LOCATION = re.compile(r"on (\S+ line \d+)")
#: A headline that only precedes other errors.
_ANNOUNCEMENT = "Terraform encountered problems during initiali"
#: Lines beyond this do not belong to the first error.
_MAX_LINES = 200
#: In characters; a longer line is cut.
_MAX_LINE_LENGTH = 1000


class StalePlan(Refused):
    """A saved plan that no longer matches the state."""


class ErrorOutput:
    """The error output of one Terraform run. `remedy` says where to find the full output."""

    def __init__(self, remedy: str = SEE_STAGE_LOG) -> None:
        self._remedy = remedy
        self._lines: list[str] = []

    def add_line(self, line: str) -> None:
        plain = _COLOUR.sub("", line[:_MAX_LINE_LENGTH]).strip("╷│╵ \t")
        if (self._lines or plain.startswith("Error: ")) and len(self._lines) < _MAX_LINES:
            self._lines.append(plain)

    @property
    def first_error(self) -> str:
        """The first meaningful error with its location; empty if there was none.

        Without its details, which may contain values.
        """
        heads = [number for number, line in enumerate(self._lines) if line.startswith("Error: ")]
        meaningful = [number for number in heads if _ANNOUNCEMENT not in self._lines[number]]
        for number in meaningful or heads:
            following = itertools.takewhile(
                lambda line: not line.startswith("Error: "), self._lines[number + 1 :]
            )
            matches = (_LOCATION.match(line) for line in following)
            location = next((f" ({match[1]})" for match in matches if match), "")
            return self._lines[number].removeprefix("Error: ") + location
        return ""

    def contains(self, text: str) -> bool:
        return any(text in line for line in self._lines)

    def to_error(self, command: str, code: int) -> PipecdError:
        """The error of a `terraform <command>` that exited with `code`."""
        if any(self.contains(text) for text in _STALE):
            return StalePlan(
                "the state changed after the plan was created, so the plan was not applied",
                remedy=NEW_PLAN,
            )
        if self.contains("Error acquiring the state lock"):
            return self._locked_error()
        if command == "init" and (error := download_error("terraform init", "\n".join(self._lines))):
            return error
        if command == "init" and (temporary := _TEMPORARY.search("\n".join(self._lines))):
            return Temporary(f"terraform init could not download providers or modules: {temporary[0]}")
        exit_reason = f"killed by signal {-code}" if code < 0 else f"exited with code {code}"
        return Refused(f"terraform {command}: {self.first_error or exit_reason}", remedy=self._remedy)

    def _locked_error(self) -> Refused:
        holder = self._lock_info("Who") or "another process"
        since = f" since {created}" if (created := self._lock_info("Created")) else ""
        lock = self._lock_info("ID")
        unlock = f"`terraform force-unlock {lock}`" if lock else "`terraform force-unlock`"
        return Refused(
            f"the state is locked by {holder}{since}",
            remedy=f"wait until it is released; if the holder no longer runs, release it with {unlock}",
        )

    def _lock_info(self, name: str) -> str:
        matches = (re.match(rf"{name}:\s+(\S.*)", line) for line in self._lines)
        return next((match[1] for match in matches if match), "")
