"""push → traffic shifted: a Lambda alias updated by a quick sync, and by a canary deployment.

Launcher and agent run as in App Runner's container. Measured from the accepted push to the update of the
alias in the emulated AWS.
"""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.figures import report
from pipecd.schema.model.kind_pb2 import LAMBDA
from tests.deploy.container import AppRunnerEnvironment, apprunner_environment
from tests.platforms.aws.emulator import REGION, Call, Emulator, emulator

#: Fewer runs than retained versions: moto reuses version numbers after an older version is deleted.
FUNCTIONS, RUNS = 6, 5
#: Target for the first shift of traffic, in seconds.
FIRST_SHIFT_TARGET = 2.0
PROVIDERS = ({"name": "lambda", "type": "LAMBDA", "config": {"region": REGION}},)
STAGES = (
    {"name": "LAMBDA_CANARY_ROLLOUT"},
    {"name": "LAMBDA_PROMOTE", "with": {"percent": 10}},
    {"name": "LAMBDA_PROMOTE", "with": {"percent": 100}},
)


async def run(folder: Path) -> None:
    with emulator() as aws:
        async with (
            apprunner_environment(aws, folder, PROVIDERS) as environment,
            environment.start_container("--insecure=true") as container,
        ):
            await container.wait_until_healthy("v0.1.0")
            for name, stages, steps in (
                ("quick sync", (), ("all traffic",)),
                ("canary", STAGES, ("first 10%", "all traffic")),
            ):
                await _measure(environment, aws, name, stages, steps)


async def _measure(
    environment: AppRunnerEnvironment,
    aws: Emulator,
    name: str,
    stages: tuple[Any, ...],
    steps: tuple[str, ...],
) -> None:
    times: dict[str, list[float]] = {step: [] for step in (*steps, "done")}
    for number in range(FUNCTIONS):
        function = Function.create(aws, f"{name.replace(' ', '-')}-{number}", stages)
        for step, values in (await _measure_function(environment, aws, function, steps)).items():
            times[step] += values
    for step, values in times.items():
        target = FIRST_SHIFT_TARGET if step == steps[0] else None
        report(f"Lambda, {name}: push → {step}", values, "s", target=target)


async def _measure_function(
    environment: AppRunnerEnvironment, aws: Emulator, function: "Function", steps: tuple[str, ...]
) -> Mapping[str, Sequence[float]]:
    """Seconds from a push to each step."""
    await environment.world.push("Begin", function.files("v0"))
    app = await environment.world.register(function.name, kind=LAMBDA, provider="lambda")
    await environment.world.wait_for_deployment(app)
    times: dict[str, list[float]] = {step: [] for step in (*steps, "done")}
    for number in range(RUNS):
        updates = AliasUpdates(asyncio.get_running_loop(), function.name)
        aws.intercept = updates
        commit = await environment.world.push(f"Run {number}", function.files(f"v{number + 1}"))
        pushed_at = time.monotonic()
        for step in steps:
            times[step].append(await updates.next(with_canary=step != steps[-1]) - pushed_at)
        aws.intercept = None
        await environment.world.wait_for_deployment(app, commit)
        times["done"].append(time.monotonic() - pushed_at)
    return times


@dataclass(frozen=True, kw_only=True)
class Function:
    name: str
    role: str
    stages: tuple[Any, ...]

    @classmethod
    def create(cls, aws: Emulator, name: str, stages: tuple[Any, ...]) -> "Function":
        response = aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument="{}")
        return cls(name=name, role=response["Role"]["Arn"], stages=stages)

    def files(self, tag: str) -> Mapping[str, str]:
        envelope = {"apiVersion": "pipecd.dev/v1beta1"}
        image = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/{self.name}:{tag}"
        spec = {"name": self.name, "role": self.role, "image": image, "memory": 128, "timeout": 5}
        app: dict[str, Any] = {"name": self.name}
        if self.stages:
            app["pipeline"] = {"stages": list(self.stages)}
        return {
            f"{self.name}/function.yaml": json.dumps({**envelope, "kind": "LambdaFunction", "spec": spec}),
            f"{self.name}/app.pipecd.yaml": json.dumps({**envelope, "kind": "LambdaApp", "spec": app}),
        }


@dataclass
class AliasUpdates:
    """Records when the alias was updated, and whether two versions share its traffic since."""

    loop: asyncio.AbstractEventLoop
    function: str
    updates: asyncio.Queue[tuple[float, bool]] = field(default_factory=asyncio.Queue)

    def __call__(self, call: Call, after: bool) -> None:
        if after and call.name == "lambda.UpdateAlias":
            weights = (call.body.get("RoutingConfig") or {}).get("AdditionalVersionWeights")
            self.loop.call_soon_threadsafe(self.updates.put_nowait, (time.monotonic(), bool(weights)))

    async def next(self, *, with_canary: bool) -> float:
        """The monotonic time of the next update with or without a second version."""
        async with asyncio.timeout(60):
            while True:
                updated_at, has_canary = await self.updates.get()
                if has_canary is with_canary:
                    return updated_at
