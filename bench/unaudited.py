"""`pipecd` without the audit log, to measure what the log costs: python -m bench.unaudited server …"""

from collections.abc import Sequence
from typing import Any

from pipecd.__main__ import main
from pipecd.controlplane import jobs, store
from pipecd.controlplane.jobs import seal_audit_log
from pipecd.controlplane.store.statements import Write


def _no_rows(*_: Any) -> Sequence[Write]:
    return ()


if __name__ == "__main__":
    # The seams are those of this program alone: the log cannot be switched off.
    vars(store)["_audit_rows"] = _no_rows
    jobs.run.__kwdefaults__ = None
    jobs.run.__defaults__ = (tuple(job for job in jobs.JOBS if job.run is not seal_audit_log.run),)
    main()
