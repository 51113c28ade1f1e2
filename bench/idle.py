"""What an agent costs that has nothing to do: 50 Lambda functions and 50 ECS services, all deployed.

Launcher and agent are the processes of App Runner's container. Calls to AWS are counted by the emulator,
those to the control plane by its own metrics. Live state and drift detection are on, as they are by default.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from bench.figures import report_value
from pipecd.controlplane.rpc.call_metrics import CALLS
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.kind_pb2 import ECS, LAMBDA
from pipecd.schema.web.deployments_pb2 import ListDeploymentsRequest
from tests.deploy.container import AppRunnerEnvironment, Container, apprunner_environment
from tests.deploy.cpu_quota import cpu_seconds
from tests.eventually import eventually
from tests.platforms.aws.emulator import REGION, Call, Emulator, emulator
from tests.platforms.awslambda import cloud as functions
from tests.platforms.ecs import cloud as services

EACH = 50
#: As teams have it: several services share a cluster.
CLUSTERS = 5
#: Of idleness that are counted, after one that is not: as long as a comparison stands.
MINUTES = 5
#: AWS refuses ECS's callers beyond some 20 calls of a kind a second, and many agents may share an account.
MOST_CALLS = 500
#: A quarter of a vCPU is 15 seconds a minute (seconds).
MOST_CPU = 5
PROVIDERS = (
    {"name": "lambda", "type": "LAMBDA", "config": {"region": REGION}},
    {"name": "ecs", "type": "ECS", "config": {"region": REGION}},
)


async def run(folder: Path) -> None:
    with emulator() as aws:
        async with apprunner_environment(aws, folder, PROVIDERS) as environment:
            files = await asyncio.to_thread(_cloud, aws)
            aws.after_change = None
            async with environment.start_container("--insecure=true") as container:
                await container.wait_until_healthy("v0.1.0")
                await _deployed(environment, files)
                await asyncio.sleep(60)
                await _counted(environment, container, aws)


def _cloud(aws: Emulator) -> Mapping[str, str]:
    """What the services need that no deployment makes. The files of all applications."""
    role = functions.create_cloud(aws)
    network = services.create_cloud(aws)
    ecs = aws.client("ecs")
    for at in range(CLUSTERS):
        ecs.create_cluster(clusterName=f"cluster-{at}")
    files: dict[str, str] = {}
    for number in range(EACH):
        name = f"function-{number}"
        made = functions.files(role, "v1")
        made["function.yaml"] = made["function.yaml"].replace(
            f"name: {functions.FUNCTION}\n", f"name: {name}\n"
        )
        files |= {f"{name}/{file}": text for file, text in made.items()}
        name = f"service-{number}"
        cluster = f"cluster-{number % CLUSTERS}"
        made = services.files(network, "v1", service={"serviceName": name, "cluster": cluster})
        task = {**json.loads(made["taskdef.json"]), "family": name}
        made["taskdef.json"] = json.dumps(task)
        files |= {f"{name}/{file}": text for file, text in made.items()}
    return files


async def _deployed(environment: AppRunnerEnvironment, files: Mapping[str, str]) -> None:
    w = environment.world
    await w.push("All applications", files)
    for number in range(EACH):
        await w.register(f"function-{number}", kind=LAMBDA, provider="lambda")
        await w.register(f"service-{number}", kind=ECS, provider="ecs")

    async def all_succeeded() -> bool:
        options = ListDeploymentsRequest.Options(statuses=[DeploymentStatus.DEPLOYMENT_SUCCESS])
        answer = await w.console.call("ListDeployments", options=options, page_size=200)
        return len(answer.deployments) >= 2 * EACH

    begun = time.monotonic()
    await eventually(all_succeeded, 600)
    report_value(f"{2 * EACH} applications: deployed for the first time within", time.monotonic() - begun, "s")


async def _counted(environment: AppRunnerEnvironment, container: Container, aws: Emulator) -> None:
    asked: Counter[str] = Counter()

    def count(call: Call, after: bool) -> None:
        if not after:
            asked[call.name] += 1

    roles, calls = len(environment.role_server.asked), _calls()
    cpu, begun = cpu_seconds(container.processes()), time.monotonic()
    aws.intercept = count
    await asyncio.sleep(60 * MINUTES)
    aws.intercept = None
    minutes = (time.monotonic() - begun) / 60
    spent = (cpu_seconds(container.processes()) - cpu) / minutes
    idle = f"{2 * EACH} applications, idle"
    report_value(f"{idle}: calls to AWS", asked.total() / minutes, "/min", most=MOST_CALLS)
    for name, times in asked.most_common():
        report_value(f"… {name}", times / minutes, "/min")
    role_requests = len(environment.role_server.asked) - roles
    report_value(f"{idle}: container role asked for", role_requests / minutes, "/min")
    called = _calls() - calls
    report_value(f"{idle}: calls to the control plane", called.total() / minutes, "/min")
    for name, times in called.most_common():
        report_value(f"… {name}", times / minutes, "/min")
    report_value(f"{idle}: CPU of launcher and agent", spent, "s/min", most=MOST_CPU)
    report_value(f"{idle}: memory of launcher and agent", container.resident_bytes() / 2**20, "MB", most=200)


def _calls() -> Counter[str]:
    """Calls that the control plane answered to agents so far, by method."""
    return Counter(
        {
            sample.labels["method"].rsplit("/", 1)[-1]: int(sample.value)
            for metric in CALLS.collect()
            for sample in metric.samples
            if sample.name.endswith("_total") and "PipedService" in sample.labels["method"]
        }
    )
