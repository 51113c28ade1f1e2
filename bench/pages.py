"""The first page of 10,000 applications and of 100,000 deployments, with the console's requests."""

import time
from pathlib import Path
from typing import Any

from bench.figures import report
from bench.records import application, finished_deployment, insert
from tests.controlplane.server_fixture import control_plane

APPLICATIONS, DEPLOYMENTS, CALLS = 10_000, 100_000, 100


async def run(folder: Path) -> None:
    async with control_plane(folder) as plane:
        store = plane.server.services.store
        await insert(store, [application(number) for number in range(APPLICATIONS)])
        await insert(store, [finished_deployment(number, APPLICATIONS) for number in range(DEPLOYMENTS)])
        searches: list[tuple[str, str, dict[str, Any]]] = [
            (f"{APPLICATIONS} applications: first page", "PageApplications", {}),
            (f"{APPLICATIONS} applications: a search", "PageApplications", {"search": "shop-99"}),
            (f"{APPLICATIONS} applications: a label", "PageApplications", {"labels": {"env": "e3"}}),
            (f"{DEPLOYMENTS} deployments: first page", "PageDeployments", {}),
            (f"{DEPLOYMENTS} deployments: of a status", "PageDeployments", {"statuses": [5]}),
            (f"{DEPLOYMENTS} deployments: of an application", "PageDeployments", {"application_id": "a7"}),
        ]
        for name, method, fields in searches:
            times = []
            for _ in range(CALLS):
                started = time.monotonic()
                await plane.console.call(method, **fields)
                times.append((time.monotonic() - started) * 1000)
            report(name, times, "ms", target=200.0)
