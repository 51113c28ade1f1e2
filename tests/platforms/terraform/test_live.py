"""Live state from a real Terraform state, without any of its values."""

import asyncio
import fcntl
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipecd.errors import ConfigError, PipecdError, Refused, Temporary
from pipecd.model.application import Application, GitPath
from pipecd.model.drift import NO_DRIFT, Drift, IgnoredFields
from pipecd.model.observation import ObservationRequest
from pipecd.model.resource import Health, Resource, aggregate_health
from pipecd.model.stage import Done
from pipecd.platforms import Observes
from pipecd.platforms.terraform import platform
from pipecd.platforms.terraform.stages import sync
from pipecd.platforms.terraform.state import DEPOSED, MAX_RESOURCES, TAINTED, parse_state
from pipecd.wire import snapshot_to
from tests.platforms.terraform.shop import INSTALLED, app_file, data, shop_runner
from tests.stages.stage_runner import StageRunner, application, no_providers

CANARY = "canary-8c1f7e"
#: A module per colour, each with a nested module, and secrets in all parts of the state.
BODY = f"""
variable "secret" {{
  sensitive = true
  default   = "{CANARY}-variable"
}}
resource "terraform_data" "plain" {{
  input = "{CANARY}-plain"
}}
resource "terraform_data" "hidden" {{
  input = var.secret
}}
resource "terraform_data" "many" {{
  count = 2
  input = "{CANARY}-many"
}}
module "colour" {{
  for_each = toset(["red", "bl.u\\"e"])
  source   = "./colour"
}}
output "message" {{
  value = "{CANARY}-output"
}}
"""
MODULES = {
    "colour/main.tf": 'resource "terraform_data" "each" {\n  for_each = toset(["a", "$${b}"])\n}\n'
    'module "inner" {\n  source = "../inner"\n}\n',
    "inner/main.tf": 'resource "terraform_data" "deep" {\n}\n',
}


async def load_live_state(runner: StageRunner, **changes: Any) -> Sequence[Resource]:
    """As the agent's loop does, at the head of the branch."""
    async with _observation(runner, **changes) as request:
        assert platform.observes
        return await platform.observes.load(request)


async def detect_drift(runner: StageRunner, **changes: Any) -> Drift:
    async with _observation(runner, **changes) as request:
        assert platform.compares
        return await platform.compares.detect(request)


@asynccontextmanager
async def _observation(runner: StageRunner, **changes: Any) -> AsyncIterator[ObservationRequest]:
    head = runner.clone.git("rev-parse", "HEAD")
    async with runner.sources.checkout(runner.deployment.git_path, head) as source:

        async def checkout() -> Any:
            return source

        request = ObservationRequest(
            application=application(runner.deployment),
            provider=INSTALLED,
            providers=no_providers,
            desired=await platform.load_desired_state(source),
            ignored=IgnoredFields(()),
            redact=lambda text: text,
            checkout_head=checkout,
        )
        yield replace(request, **changes)


async def sync_application(runner: StageRunner) -> None:
    assert isinstance(await runner.run("TERRAFORM_SYNC", sync), Done)


def edit(state: Path, name: str, **attributes: Any) -> None:
    """Marks the first instance of the resource, as a failed Terraform run does."""
    document = json.loads(state.read_text())
    resource = next(resource for resource in document["resources"] if resource["name"] == name)
    resource["instances"][0].update(attributes)
    state.write_text(json.dumps(document))


async def test_before_the_first_deployment_nothing_runs(tmp_path: Path) -> None:
    assert isinstance(platform.observes, Observes)
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        assert await load_live_state(runner) == []
    assert not (tmp_path / "state").exists()


async def test_modules_and_instances_are_a_tree_without_values(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with shop_runner(tmp_path, BODY, files=MODULES) as runner:
        await sync_application(runner)
        assert (tmp_path / "state").read_text().count(CANARY) > 5
        capfd.readouterr()
        resources = await load_live_state(runner)
        output = capfd.readouterr()
    parents = {resource.id: tuple(resource.parents) for resource in resources}
    blue, red = 'module.colour["bl.u\\"e"]', 'module.colour["red"]'
    assert parents == {
        "terraform_data.plain": (),
        "terraform_data.hidden": (),
        "terraform_data.many[0]": (),
        "terraform_data.many[1]": (),
        **{
            address: above
            for colour in (blue, red)
            for address, above in {
                colour: (),
                f"{colour}.module.inner": (colour,),
                f'{colour}.terraform_data.each["a"]': (colour,),
                f'{colour}.terraform_data.each["$${{b}}"]': (colour,),
                f"{colour}.module.inner.terraform_data.deep": (f"{colour}.module.inner",),
            }.items()
        },
    }
    places = [resource.id for resource in resources]
    assert all(
        places.index(above) < places.index(resource.id)
        for resource in resources
        for above in resource.parents
    )
    kinds = {resource.id: (resource.kind, resource.name) for resource in resources}
    assert kinds[f'{red}.terraform_data.each["a"]'] == ("terraform_data", 'each["a"]')
    assert kinds[f"{red}.module.inner"] == ("module", "inner")
    assert kinds[blue] == ("module", 'colour["bl.u\\"e"]')
    assert next(resource for resource in resources if resource.id == "terraform_data.plain").metadata == {
        "provider": "terraform.io/builtin/terraform"
    }
    assert aggregate_health(resources) is Health.HEALTHY
    sent = snapshot_to(application(runner.deployment), resources, now=5)
    assert [resource.id for resource in sent.application_live_state.resources] == places
    for text in (str(sent), repr(resources), caplog.text, output.out, output.err):
        assert CANARY not in text


async def test_tainted_and_deposed_objects_are_unhealthy_with_a_reason(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, BODY, files=MODULES) as runner:
        await sync_application(runner)
        edit(tmp_path / "state", "plain", status="tainted")
        edit(tmp_path / "state", "deep", deposed="1b2c3d4e")
        resources = {resource.id: resource for resource in await load_live_state(runner)}
    assert aggregate_health(resources.values()) is Health.UNHEALTHY
    unhealthy = {
        key: resource.health_reason
        for key, resource in resources.items()
        if resource.health is Health.UNHEALTHY
    }
    blue = 'module.colour["bl.u\\"e"]'
    assert unhealthy == {
        "terraform_data.plain": TAINTED.capitalize(),
        blue: "1 of 3 resources in it are unhealthy",
        f"{blue}.module.inner": "1 of 1 resources in it are unhealthy",
        f"{blue}.module.inner.terraform_data.deep": "The" + DEPOSED.removeprefix("the"),
    }


async def test_a_resource_tainted_by_terraform_is_unhealthy(tmp_path: Path) -> None:
    body = 'resource "terraform_data" "a" {\n  provisioner "local-exec" {\n    command = "exit 1"\n  }\n}\n'
    async with shop_runner(tmp_path, body) as runner:
        with pytest.raises(PipecdError):
            await runner.run("TERRAFORM_SYNC", sync)
        (only,) = await load_live_state(runner)
    assert (only.id, only.health, only.health_reason) == (
        "terraform_data.a",
        Health.UNHEALTHY,
        TAINTED.capitalize(),
    )


async def test_the_state_of_the_configured_workspace_is_read(tmp_path: Path) -> None:
    backend = f'path = "{tmp_path}/state"\n    workspace_dir = "{tmp_path}/spaces"'
    main = f'terraform {{\n  backend "local" {{\n    {backend}\n  }}\n}}\n'
    for name in ("blue", "green"):
        workspace = tmp_path / "spaces" / name
        workspace.mkdir(parents=True)
        (workspace / "terraform.tfstate").write_text("")
    async with shop_runner(tmp_path, "", file=app_file(workspace="blue")) as runner:
        runner.clone.commit_and_push("Space", {"app/main.tf": main + data("a", "1")})
        at = runner.at(runner.clone.git("rev-parse", "HEAD"))
        await sync_application(at)
        assert [resource.id for resource in await load_live_state(at)] == ["terraform_data.a"]
        runner.clone.commit_and_push("Green", {"app/app.pipecd.yaml": app_file(workspace="green")})
        assert await load_live_state(at) == []
        runner.clone.commit_and_push("Red", {"app/app.pipecd.yaml": app_file(workspace="red")})
        with pytest.raises(ConfigError, match="the workspace red does not exist"):
            await load_live_state(at)


async def test_a_state_file_set_by_a_flag_is_read(tmp_path: Path) -> None:
    flag = [f"-state={tmp_path}/elsewhere"]
    file = app_file(commandFlags={"plan": flag, "apply": flag})
    async with shop_runner(tmp_path, data("a", "1"), file=file) as runner:
        assert await load_live_state(runner) == []
        await sync_application(runner)
        assert not (tmp_path / "state").exists()
        assert [resource.id for resource in await load_live_state(runner)] == ["terraform_data.a"]


async def test_loading_neither_waits_for_the_state_lock_nor_takes_it(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        await sync_application(runner)
        before = (tmp_path / "state").read_bytes()
        # Locked as by a deployment that is applying.
        with (tmp_path / "state").open("r+") as state_file:
            fcntl.lockf(state_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            async with asyncio.timeout(120):
                assert [resource.id for resource in await load_live_state(runner)] == ["terraform_data.a"]
        assert (tmp_path / "state").read_bytes() == before
        links = [path.name for path in (tmp_path / "agent").rglob("terraform/*") if path.is_symlink()]
        assert len(links) == 1, "only the deployment's folder remains"


async def test_a_failed_init_raises_its_reason(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, 'module "gone" {\n  source = "./gone"\n}\n') as runner:
        with pytest.raises(PipecdError, match=r"(?i)module"):
            await load_live_state(runner)


async def test_a_pipeline_without_terraform_has_no_state_and_starts_no_terraform(tmp_path: Path) -> None:
    script = {"name": "SCRIPT_RUN", "with": {"run": "true"}}

    async def unexpected_checkout() -> Any:
        raise AssertionError("no checkout is required")

    async with shop_runner(tmp_path, "no HCL", file=app_file([script])) as runner:
        assert await load_live_state(runner, checkout_head=unexpected_checkout) == []
        assert await detect_drift(runner, checkout_head=unexpected_checkout) == NO_DRIFT


def test_an_invalid_state_is_an_error_without_its_contents() -> None:
    with pytest.raises(Temporary) as error:
        parse_state(f'{{"version": 4, "outputs": "{CANARY}'.encode())
    assert CANARY not in str(error.value) and error.value.__suppress_context__
    with pytest.raises(Refused, match="format 3, not 4"):
        parse_state(json.dumps({"version": 3, "modules": [{"outputs": CANARY}]}).encode())
    for malformed in (0, [CANARY], {"version": 4, "resources": [CANARY]}, {"version": 4, "resources": 1}):
        with pytest.raises(Refused, match="not a state of Terraform") as shape:
            parse_state(json.dumps(malformed).encode())
        assert CANARY not in str(shape.value)
    entry = {"mode": "managed", "instances": [{"index_key": 0}], "outputs": CANARY}
    with pytest.raises(Refused, match="not a state of Terraform"):
        parse_state(json.dumps({"version": 4, "resources": [entry]}).encode())


@pytest.mark.parametrize("mode", ["data", "managed"])
def test_data_sources_are_omitted(mode: str) -> None:
    entry: Mapping[str, Any] = {
        "mode": mode,
        "type": "aws_ami",
        "name": "web",
        "provider": 'module.net.provider["registry.terraform.io/hashicorp/aws"].west',
        "instances": [{"attributes": {"id": CANARY}}, {"deposed": "aa", "status": "tainted"}],
    }
    shown = parse_state(json.dumps({"version": 4, "resources": [entry]}).encode())
    if mode == "data":
        assert not shown
        return
    (only,) = shown
    assert (only.id, only.metadata) == ("aws_ami.web", {"provider": "registry.terraform.io/hashicorp/aws"})
    assert only.health_reason == "The" + DEPOSED.removeprefix("the")


def test_a_huge_state_is_truncated_to_the_unhealthy_resources_first() -> None:
    instances: list[dict[str, Any]] = [
        {"index_key": f"key-{number:060}"} for number in range(2 * MAX_RESOURCES)
    ]
    instances[-1]["status"] = "tainted"
    entry = {
        "mode": "managed",
        "module": "module.network",
        "type": "aws_route53_record",
        "name": "each",
        "provider": 'provider["registry.terraform.io/hashicorp/aws"]',
        "instances": instances,
    }
    shown = parse_state(json.dumps({"version": 4, "resources": [entry]}).encode())
    assert len(shown) == MAX_RESOURCES + 1
    assert [resource.id for resource in shown if resource.health is Health.UNHEALTHY] == [
        "module.network",
        f'module.network.aws_route53_record.each["key-{2 * MAX_RESOURCES - 1:060}"]',
    ]
    assert shown[-1].name == f"and {2 * MAX_RESOURCES + 1 - MAX_RESOURCES} more"
    application = Application(
        id="a" * 36,
        name="shop",
        piped_id="p",
        project_id="j",
        kind="TERRAFORM",
        git_path=GitPath(repo_id="r", path="."),
    )
    assert snapshot_to(application, shown, now=5).ByteSize() < 4 * 1024 * 1024
