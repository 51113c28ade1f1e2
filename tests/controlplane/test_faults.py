"""An internal error of background work is logged and counted; expected errors are passed on."""

import pytest
from structlog.testing import capture_logs

from pipecd.controlplane.faults import INTERNAL_ERRORS, contained
from pipecd.errors import Temporary


def test_an_internal_error_is_counted_and_an_expected_one_is_passed_on() -> None:
    counter = INTERNAL_ERRORS.labels("a-test")
    with capture_logs() as logs:
        with contained("a-test"):
            raise KeyError("a bug")
        with pytest.raises(Temporary), contained("a-test"):
            raise Temporary("away")
    assert [(entry["event"], entry["job"]) for entry in logs] == [("job_internal_error", "a-test")]
    assert counter._value.get() == 1
