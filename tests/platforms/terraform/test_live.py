"""What is message of an application from its real state, and that nothing of its values is message."""

import asyncio
import fcntl
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipecd.errors import ConfigError, PipecdError, Refused, Temporary
from pipecd.model.application import Application, ApplicationKind, GitPath
from pipecd.model.drift import IgnoredFields
from pipecd.model.observation import ObservationRequest
from pipecd.model.resource import Health, Resource, aggregate_health
from pipecd.model.stage import Done
from pipecd.platforms import Observes
from pipecd.platforms.terraform import platform
from pipecd.platforms.terraform.stages import sync
from pipecd.platforms.terraform.state import DEPOSED, MAX_RESOURCES, TAINTED, parse_state
from pipecd.wire import snapshot_to
from tests.platforms.terraform.shop import EMBEDDED, app_file, data, shop_runner
from tests.stages.stage_runner import StageRunner, application

CANARY = "canary-8c1f7e"
#: A module for each colour, which holds a module of its own; and a secret in every corner of the state.
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


async def looked(runner: StageRunner, **more: Any) -> Sequence[Resource]:
    """As the agent's loop looks, at the head of the branch."""
    head = runner.clone.git("rev-parse", "HEAD")
    async with runner.sources.checkout(runner.deployment.git_path, head) as source:

        async def checkout() -> Any:
            return source

        look = ObservationRequest(
            application=application(runner.deployment),
            provider=EMBEDDED,
            desired=await platform.load_desired_state(source),
            ignored=IgnoredFields(()),
            redact=lambda text: text,
            checkout_head=checkout,
        )
        return await platform.load_live_state(replace(look, **more))


async def synced(runner: StageRunner) -> None:
    assert isinstance(await runner.run("TERRAFORM_SYNC", sync), Done)


def edit(state: Path, name: str, **marks: Any) -> None:
    """Marks the first instance of the resource, as Terraform does when it fails half-way."""
    document = json.loads(state.read_text())
    resource = next(one for one in document["resources"] if one["name"] == name)
    resource["instances"][0].update(marks)
    state.write_text(json.dumps(document))


async def test_before_the_first_deployment_nothing_is_there(tmp_path: Path) -> None:
    assert isinstance(platform, Observes)
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        assert await looked(runner) == []
    assert not (tmp_path / "state").exists()


async def test_modules_and_instances_are_a_tree_and_no_value_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with shop_runner(tmp_path, BODY, **MODULES) as runner:
        await synced(runner)
        assert (tmp_path / "state").read_text().count(CANARY) > 5
        capfd.readouterr()
        found = await looked(runner)
        said = capfd.readouterr()
    parents = {one.id: tuple(one.parents) for one in found}
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
    places = [one.id for one in found]
    assert all(places.index(above) < places.index(one.id) for one in found for above in one.parents)
    kinds = {one.id: (one.kind, one.name) for one in found}
    assert kinds[f'{red}.terraform_data.each["a"]'] == ("terraform_data", 'each["a"]')
    assert kinds[f"{red}.module.inner"] == ("module", "inner")
    assert kinds[blue] == ("module", 'colour["bl.u\\"e"]')
    assert next(one for one in found if one.id == "terraform_data.plain").metadata == {
        "provider": "terraform.io/builtin/terraform"
    }
    assert aggregate_health(found) is Health.HEALTHY
    sent = snapshot_to(application(runner.deployment), found, now=5)
    assert [one.id for one in sent.application_live_state.resources] == places
    for text in (str(sent), repr(found), caplog.text, said.out, said.err):
        assert CANARY not in text


async def test_tainted_and_deposed_objects_are_unhealthy_and_say_why(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, BODY, **MODULES) as runner:
        await synced(runner)
        edit(tmp_path / "state", "plain", status="tainted")
        edit(tmp_path / "state", "deep", deposed="1b2c3d4e")
        found = {one.id: one for one in await looked(runner)}
    assert aggregate_health(found.values()) is Health.UNHEALTHY
    sick = {key: one.health_reason for key, one in found.items() if one.health is Health.UNHEALTHY}
    blue = 'module.colour["bl.u\\"e"]'
    assert sick == {
        "terraform_data.plain": TAINTED.capitalize(),
        blue: "1 of 3 resources in it are not healthy",
        f"{blue}.module.inner": "1 of 1 resources in it are not healthy",
        f"{blue}.module.inner.terraform_data.deep": "An object" + DEPOSED.removeprefix("an object"),
    }


async def test_what_terraform_itself_leaves_tainted_is_told(tmp_path: Path) -> None:
    body = 'resource "terraform_data" "a" {\n  provisioner "local-exec" {\n    command = "exit 1"\n  }\n}\n'
    async with shop_runner(tmp_path, body) as runner:
        with pytest.raises(PipecdError):
            await runner.run("TERRAFORM_SYNC", sync)
        (only,) = await looked(runner)
    assert (only.id, only.health, only.health_reason) == ("terraform_data.a", Health.UNHEALTHY, TAINTED.capitalize())


async def test_the_state_of_the_configured_workspace_is_shown(tmp_path: Path) -> None:
    backend = f'path = "{tmp_path}/state"\n    workspace_dir = "{tmp_path}/spaces"'
    main = f'terraform {{\n  backend "local" {{\n    {backend}\n  }}\n}}\n'
    for name in ("blue", "green"):
        made = tmp_path / "spaces" / name
        made.mkdir(parents=True)
        (made / "terraform.tfstate").write_text("")
    async with shop_runner(tmp_path, "", file=app_file(workspace="blue")) as runner:
        runner.clone.commit_and_push("Space", {"app/main.tf": main + data("a", "1")})
        at = runner.at(runner.clone.git("rev-parse", "HEAD"))
        await synced(at)
        assert [one.id for one in await looked(at)] == ["terraform_data.a"]
        runner.clone.commit_and_push("Green", {"app/app.pipecd.yaml": app_file(workspace="green")})
        assert await looked(at) == []
        runner.clone.commit_and_push("Red", {"app/app.pipecd.yaml": app_file(workspace="red")})
        with pytest.raises(ConfigError, match="there is no workspace red"):
            await looked(at)


async def test_a_state_file_that_a_flag_names_is_read(tmp_path: Path) -> None:
    flag = [f"-state={tmp_path}/elsewhere"]
    asked = app_file(commandFlags={"plan": flag, "apply": flag})
    async with shop_runner(tmp_path, data("a", "1"), file=asked) as runner:
        assert await looked(runner) == []
        await synced(runner)
        assert not (tmp_path / "state").exists()
        assert [one.id for one in await looked(runner)] == ["terraform_data.a"]


async def test_looking_neither_waits_for_the_states_lock_nor_takes_it(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        await synced(runner)
        before = (tmp_path / "state").read_bytes()
        # As a deployment holds it that is applying now.
        with (tmp_path / "state").open("r+") as held:
            fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            async with asyncio.timeout(120):
                assert [one.id for one in await looked(runner)] == ["terraform_data.a"]
        assert (tmp_path / "state").read_bytes() == before
        left = [path.name for path in (tmp_path / "agent").rglob("terraform/*") if path.is_symlink()]
        assert len(left) == 1, "the deployment's folder, none of a look"


async def test_what_cannot_be_initialised_raises_with_its_reason(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, 'module "gone" {\n  source = "./gone"\n}\n') as runner:
        with pytest.raises(PipecdError, match=r"(?i)module"):
            await looked(runner)


async def test_a_pipeline_without_terraform_has_no_state_and_starts_no_terraform(tmp_path: Path) -> None:
    script = {"name": "SCRIPT_RUN", "with": {"run": "true"}}

    async def never() -> Any:
        raise AssertionError("no checkout is needed")

    async with shop_runner(tmp_path, "no HCL", file=app_file([script])) as runner:
        assert await looked(runner, head=never) == []


def test_a_cut_or_foreign_state_is_refused_without_a_word_of_it() -> None:
    with pytest.raises(Temporary) as cut:
        parse_state(f'{{"version": 4, "outputs": "{CANARY}'.encode())
    assert CANARY not in str(cut.value) and cut.value.__suppress_context__
    with pytest.raises(Refused, match="format 3, not 4"):
        parse_state(json.dumps({"version": 3, "modules": [{"outputs": CANARY}]}).encode())


@pytest.mark.parametrize("mode", ["data", "managed"])
def test_data_sources_are_no_resources(mode: str) -> None:
    found: Mapping[str, Any] = {
        "mode": mode,
        "type": "aws_ami",
        "name": "web",
        "provider": 'module.net.provider["registry.terraform.io/hashicorp/aws"].west',
        "instances": [{"attributes": {"id": CANARY}}, {"deposed": "aa", "status": "tainted"}],
    }
    shown = parse_state(json.dumps({"version": 4, "resources": [found]}).encode())
    if mode == "data":
        assert not shown
        return
    (only,) = shown
    assert (only.id, only.metadata) == ("aws_ami.web", {"provider": "registry.terraform.io/hashicorp/aws"})
    assert only.health_reason == "An object" + DEPOSED.removeprefix("an object")


def test_of_a_huge_state_the_sick_are_shown_and_the_message_stays_small() -> None:
    instances: list[dict[str, Any]] = [{"index_key": f"key-{number:060}"} for number in range(2 * MAX_RESOURCES)]
    instances[-1]["status"] = "tainted"
    found = {
        "mode": "managed",
        "module": "module.network",
        "type": "aws_route53_record",
        "name": "each",
        "provider": 'provider["registry.terraform.io/hashicorp/aws"]',
        "instances": instances,
    }
    shown = parse_state(json.dumps({"version": 4, "resources": [found]}).encode())
    assert len(shown) == MAX_RESOURCES + 1
    assert [one.id for one in shown if one.health is Health.UNHEALTHY] == [
        "module.network",
        f'module.network.aws_route53_record.each["key-{2 * MAX_RESOURCES - 1:060}"]',
    ]
    assert shown[-1].name == f"and {2 * MAX_RESOURCES + 1 - MAX_RESOURCES} more"
    look = Application(
        id="a" * 36,
        name="shop",
        piped_id="p",
        project_id="j",
        kind=ApplicationKind.TERRAFORM,
        git_path=GitPath(repo_id="r", path="."),
    )
    assert snapshot_to(look, shown, now=5).ByteSize() < 4 * 1024 * 1024
