"""What callers learn about an error."""

import pytest

from pipecd.controlplane.rpc.status import Status, to_status
from pipecd.errors import ConfigError, Conflict, Place, Refused, Temporary

PATH = "/var/lib/pipecd/pipecd.db"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            ConfigError(f"the database {PATH} cannot be used: disk I/O error", place=Place(PATH)),
            Status(code="UNAVAILABLE", message="the control plane is misconfigured; see its log"),
        ),
        (RuntimeError(PATH), Status(code="INTERNAL", message="internal error")),
        (Refused("no", remedy="ask"), Status(code="INVALID_ARGUMENT", message="no; ask")),
        (Conflict("late"), Status(code="FAILED_PRECONDITION", message="late")),
        (Temporary("again"), Status(code="UNAVAILABLE", message="again")),
    ],
)
def test_errors_of_the_operator_are_not_shown_to_callers(error: Exception, expected: Status) -> None:
    assert to_status(error, "/a.B/C") == expected
