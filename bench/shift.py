"""push → traffic shifted: a Lambda alias turned by a quick sync, and by a canary, as its callers see it.

Launcher and agent are the processes of App Runner's container. Times are those at which the emulated AWS has
turned the alias; Git's push and the webhook's hint go before.
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

#: Fewer runs than versions are kept: moto gives a number again once an older version is deleted.
FUNCTIONS, RUNS = 6, 5
#: Until the traffic moves at all (seconds).
MOST = 2.0
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
                ("canary", STAGES, ("first tenth", "all traffic")),
            ):
                await _many(environment, aws, name, stages, steps)


async def _many(
    environment: AppRunnerEnvironment,
    aws: Emulator,
    name: str,
    stages: tuple[Any, ...],
    steps: tuple[str, ...],
) -> None:
    times: dict[str, list[float]] = {step: [] for step in (*steps, "done")}
    for number in range(FUNCTIONS):
        function = Function.made(aws, f"{name.replace(' ', '-')}-{number}", stages)
        for step, values in (await _turned(environment, aws, function, steps)).items():
            times[step] += values
    for step, values in times.items():
        target = MOST if step == steps[0] else None
        report(f"Lambda, {name}: push → {step}", values, "s", target=target)


async def _turned(
    environment: AppRunnerEnvironment, aws: Emulator, function: "Function", steps: tuple[str, ...]
) -> Mapping[str, Sequence[float]]:
    """Seconds from a push to each step."""
    await environment.world.push("Begin", function.files("v0"))
    app = await environment.world.register(function.name, kind=LAMBDA, provider="lambda")
    await environment.world.wait_for_deployment(app)
    times: dict[str, list[float]] = {step: [] for step in (*steps, "done")}
    for number in range(RUNS):
        turns = Turns(asyncio.get_running_loop(), function.name)
        aws.intercept = turns
        commit = await environment.world.push(f"Run {number}", function.files(f"v{number + 1}"))
        begun = time.monotonic()
        for step in steps:
            times[step].append(await turns.next(with_canary=step != steps[-1]) - begun)
        aws.intercept = None
        await environment.world.wait_for_deployment(app, commit)
        times["done"].append(time.monotonic() - begun)
    return times


@dataclass(frozen=True, kw_only=True)
class Function:
    name: str
    role: str
    stages: tuple[Any, ...]

    @classmethod
    def made(cls, aws: Emulator, name: str, stages: tuple[Any, ...]) -> "Function":
        made = aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument="{}")
        return cls(name=name, role=made["Role"]["Arn"], stages=stages)

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
class Turns:
    """When the alias was turned, and whether two versions have shared its traffic since."""

    loop: asyncio.AbstractEventLoop
    function: str
    seen: asyncio.Queue[tuple[float, bool]] = field(default_factory=asyncio.Queue)

    def __call__(self, call: Call, after: bool) -> None:
        if after and call.name == "lambda.UpdateAlias":
            weights = (call.body.get("RoutingConfig") or {}).get("AdditionalVersionWeights")
            self.loop.call_soon_threadsafe(self.seen.put_nowait, (time.monotonic(), bool(weights)))

    async def next(self, *, with_canary: bool) -> float:
        async with asyncio.timeout(60):
            while True:
                at, shared = await self.seen.get()
                if shared is with_canary:
                    return at
