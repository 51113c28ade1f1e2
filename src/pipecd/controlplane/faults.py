"""Internal errors of background work: they are logged and counted, and do not end other work."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from prometheus_client import Counter

from pipecd.errors import PipecdError

log = structlog.get_logger()

#: The label is not `job`: that is Prometheus' own label of a target.
INTERNAL_ERRORS = Counter("pipecd_job_faults_total", "Job runs that ended with an internal error.", ["name"])


@contextmanager
def contained(job: str) -> Iterator[None]:
    """Log and count an exception of the block that is no PipecdError."""
    # The series exists from the first run on: one that appears with a fault has no increase by it.
    errors = INTERNAL_ERRORS.labels(job)
    try:
        yield
    except PipecdError:
        raise
    except Exception:
        errors.inc()
        log.exception("job_internal_error", job=job)
