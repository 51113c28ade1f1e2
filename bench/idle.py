"""The resource usage of an idle agent with 50 deployed Lambda functions and 50 deployed ECS services.

Launcher and agent run as in App Runner's container. Calls to AWS are counted by the emulator, calls to the
control plane by its metrics. Live state and drift detection are enabled, as by default.
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
#: Several services share a cluster, as is usual.
CLUSTERS = 5
#: How long to measure, after an unmeasured minute; as long as a drift comparison may be reused.
MINUTES = 5
#: Calls per minute. ECS throttles at about 20 calls of a kind per second, and agents may share an account.
MAX_CALLS = 500
#: CPU seconds per minute; a quarter of a vCPU provides 15.
MAX_CPU = 5
PROVIDERS = (
    {"name": "lambda", "type": "LAMBDA", "config": {"region": REGION}},
    {"name": "ecs", "type": "ECS", "config": {"region": REGION}},
)


async def run(folder: Path) -> None:
    with emulator() as aws:
        async with apprunner_environment(aws, folder, PROVIDERS) as environment:
            files = await asyncio.to_thread(_create_cloud, aws)
            aws.after_change = None
            async with environment.start_container("--insecure=true") as container:
                await container.wait_until_healthy("v0.1.0")
                await _deploy(environment, files)
                await asyncio.sleep(60)
                await _measure_idle(environment, container, aws)


def _create_cloud(aws: Emulator) -> Mapping[str, str]:
    """Create the AWS resources that deployments require. Returns the files of all applications."""
    role = functions.create_cloud(aws)
    network = services.create_cloud(aws)
    ecs = aws.client("ecs")
    for number in range(CLUSTERS):
        ecs.create_cluster(clusterName=f"cluster-{number}")
    files: dict[str, str] = {}
    for number in range(EACH):
        name = f"function-{number}"
        application_files = functions.files(role, "v1")
        application_files["function.yaml"] = application_files["function.yaml"].replace(
            f"name: {functions.FUNCTION}\n", f"name: {name}\n"
        )
        files |= {f"{name}/{file}": text for file, text in application_files.items()}
        name = f"service-{number}"
        cluster = f"cluster-{number % CLUSTERS}"
        application_files = services.files(network, "v1", service={"serviceName": name, "cluster": cluster})
        task = {**json.loads(application_files["taskdef.json"]), "family": name}
        application_files["taskdef.json"] = json.dumps(task)
        files |= {f"{name}/{file}": text for file, text in application_files.items()}
    return files


async def _deploy(environment: AppRunnerEnvironment, files: Mapping[str, str]) -> None:
    w = environment.world
    await w.push("All applications", files)
    for number in range(EACH):
        await w.register(f"function-{number}", kind=LAMBDA, provider="lambda")
        await w.register(f"service-{number}", kind=ECS, provider="ecs")

    async def all_succeeded() -> bool:
        options = ListDeploymentsRequest.Options(statuses=[DeploymentStatus.DEPLOYMENT_SUCCESS])
        response = await w.console.call("ListDeployments", options=options, page_size=200)
        return len(response.deployments) >= 2 * EACH

    started = time.monotonic()
    await eventually(all_succeeded, 600)
    report_value(f"{2 * EACH} applications: duration of first deployments", time.monotonic() - started, "s")


async def _measure_idle(environment: AppRunnerEnvironment, container: Container, aws: Emulator) -> None:
    aws_calls: Counter[str] = Counter()

    def count(call: Call, after: bool) -> None:
        if not after:
            aws_calls[call.name] += 1

    role_requests_before, calls_before = len(environment.role_server.requests), _count_calls()
    cpu, started = cpu_seconds(container.processes()), time.monotonic()
    aws.intercept = count
    await asyncio.sleep(60 * MINUTES)
    aws.intercept = None
    minutes = (time.monotonic() - started) / 60
    cpu_per_minute = (cpu_seconds(container.processes()) - cpu) / minutes
    idle = f"{2 * EACH} applications, idle"
    report_value(f"{idle}: calls to AWS", aws_calls.total() / minutes, "/min", maximum=MAX_CALLS)
    for name, count_of_name in aws_calls.most_common():
        report_value(f"… {name}", count_of_name / minutes, "/min")
    role_requests = len(environment.role_server.requests) - role_requests_before
    report_value(f"{idle}: requests for role credentials", role_requests / minutes, "/min")
    calls = _count_calls() - calls_before
    report_value(f"{idle}: calls to the control plane", calls.total() / minutes, "/min")
    for name, count_of_name in calls.most_common():
        report_value(f"… {name}", count_of_name / minutes, "/min")
    report_value(f"{idle}: CPU of launcher and agent", cpu_per_minute, "s/min", maximum=MAX_CPU)
    report_value(
        f"{idle}: memory of launcher and agent", container.resident_bytes() / 2**20, "MB", maximum=200
    )


def _count_calls() -> Counter[str]:
    """The number of agents' calls that the control plane has answered, by method."""
    return Counter(
        {
            sample.labels["method"].rsplit("/", 1)[-1]: int(sample.value)
            for metric in CALLS.collect()
            for sample in metric.samples
            if sample.name.endswith("_total") and "PipedService" in sample.labels["method"]
        }
    )
