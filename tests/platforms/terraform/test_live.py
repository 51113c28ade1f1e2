"""What is told of an application from its real state, and that nothing of its values is told."""

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
from pipecd.model.drift import Ignored
from pipecd.model.look import Look
from pipecd.model.resource import Health, Resource, health_of
from pipecd.model.stage import Done
from pipecd.platforms import Observes
from pipecd.platforms.terraform import platform
from pipecd.platforms.terraform.stages import sync
from pipecd.platforms.terraform.state import DEPOSED, MOST, TAINTED, recorded
from pipecd.wire import snapshot_to
from tests.platforms.terraform.shop import EMBEDDED, app_file, data, shop
from tests.stages.play import Play, application

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
output "told" {{
  value = "{CANARY}-output"
}}
"""
MODULES = {
    "colour/main.tf": 'resource "terraform_data" "each" {\n  for_each = toset(["a", "$${b}"])\n}\n'
    'module "inner" {\n  source = "../inner"\n}\n',
    "inner/main.tf": 'resource "terraform_data" "deep" {\n}\n',
}


async def looked(play: Play, **more: Any) -> Sequence[Resource]:
    """As the agent's loop looks, at the head of the branch."""
    head = play.clone.git("rev-parse", "HEAD")
    async with play.sources.checkout(play.deployment.git_path, head) as source:

        async def checkout() -> Any:
            return source

        look = Look(
            application=application(play.deployment),
            provider=EMBEDDED,
            desired=await platform.desired(source),
            ignored=Ignored(()),
            clean=lambda text: text,
            head=checkout,
        )
        return await platform.live(replace(look, **more))


async def synced(play: Play) -> None:
    assert isinstance(await play.stage("TERRAFORM_SYNC", sync), Done)


def edit(state: Path, name: str, **marks: Any) -> None:
    """Marks the first instance of the resource, as Terraform does when it fails half-way."""
    document = json.loads(state.read_text())
    resource = next(one for one in document["resources"] if one["name"] == name)
    resource["instances"][0].update(marks)
    state.write_text(json.dumps(document))


async def test_before_the_first_deployment_nothing_is_there(tmp_path: Path) -> None:
    assert isinstance(platform, Observes)
    async with shop(tmp_path, data("a", "1")) as play:
        assert await looked(play) == []
    assert not (tmp_path / "state").exists()


async def test_modules_and_instances_are_a_tree_and_no_value_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with shop(tmp_path, BODY, **MODULES) as play:
        await synced(play)
        assert (tmp_path / "state").read_text().count(CANARY) > 5
        capfd.readouterr()
        found = await looked(play)
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
    assert next(one for one in found if one.id == "terraform_data.plain").facts == {
        "provider": "terraform.io/builtin/terraform"
    }
    assert health_of(found) is Health.HEALTHY
    sent = snapshot_to(application(play.deployment), found, now=5)
    assert [one.id for one in sent.application_live_state.resources] == places
    for text in (str(sent), repr(found), caplog.text, said.out, said.err):
        assert CANARY not in text


async def test_tainted_and_deposed_objects_are_unhealthy_and_say_why(tmp_path: Path) -> None:
    async with shop(tmp_path, BODY, **MODULES) as play:
        await synced(play)
        edit(tmp_path / "state", "plain", status="tainted")
        edit(tmp_path / "state", "deep", deposed="1b2c3d4e")
        found = {one.id: one for one in await looked(play)}
    assert health_of(found.values()) is Health.UNHEALTHY
    sick = {key: one.why for key, one in found.items() if one.health is Health.UNHEALTHY}
    blue = 'module.colour["bl.u\\"e"]'
    assert sick == {
        "terraform_data.plain": TAINTED.capitalize(),
        blue: "1 of 3 resources in it are not healthy",
        f"{blue}.module.inner": "1 of 1 resources in it are not healthy",
        f"{blue}.module.inner.terraform_data.deep": "An object" + DEPOSED.removeprefix("an object"),
    }


async def test_what_terraform_itself_leaves_tainted_is_told(tmp_path: Path) -> None:
    body = 'resource "terraform_data" "a" {\n  provisioner "local-exec" {\n    command = "exit 1"\n  }\n}\n'
    async with shop(tmp_path, body) as play:
        with pytest.raises(PipecdError):
            await play.stage("TERRAFORM_SYNC", sync)
        (only,) = await looked(play)
    assert (only.id, only.health, only.why) == ("terraform_data.a", Health.UNHEALTHY, TAINTED.capitalize())


async def test_the_state_of_the_configured_workspace_is_shown(tmp_path: Path) -> None:
    backend = f'path = "{tmp_path}/state"\n    workspace_dir = "{tmp_path}/spaces"'
    main = f'terraform {{\n  backend "local" {{\n    {backend}\n  }}\n}}\n'
    for name in ("blue", "green"):
        made = tmp_path / "spaces" / name
        made.mkdir(parents=True)
        (made / "terraform.tfstate").write_text("")
    async with shop(tmp_path, "", file=app_file(workspace="blue")) as play:
        play.clone.commit_and_push("Space", {"app/main.tf": main + data("a", "1")})
        at = play.at(play.clone.git("rev-parse", "HEAD"))
        await synced(at)
        assert [one.id for one in await looked(at)] == ["terraform_data.a"]
        play.clone.commit_and_push("Green", {"app/app.pipecd.yaml": app_file(workspace="green")})
        assert await looked(at) == []
        play.clone.commit_and_push("Red", {"app/app.pipecd.yaml": app_file(workspace="red")})
        with pytest.raises(ConfigError, match="there is no workspace red"):
            await looked(at)


async def test_a_state_file_that_a_flag_names_is_read(tmp_path: Path) -> None:
    flag = [f"-state={tmp_path}/elsewhere"]
    asked = app_file(commandFlags={"plan": flag, "apply": flag})
    async with shop(tmp_path, data("a", "1"), file=asked) as play:
        assert await looked(play) == []
        await synced(play)
        assert not (tmp_path / "state").exists()
        assert [one.id for one in await looked(play)] == ["terraform_data.a"]


async def test_looking_neither_waits_for_the_states_lock_nor_takes_it(tmp_path: Path) -> None:
    async with shop(tmp_path, data("a", "1")) as play:
        await synced(play)
        before = (tmp_path / "state").read_bytes()
        # As a deployment holds it that is applying now.
        with (tmp_path / "state").open("r+") as held:
            fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            async with asyncio.timeout(120):
                assert [one.id for one in await looked(play)] == ["terraform_data.a"]
        assert (tmp_path / "state").read_bytes() == before
        left = [path.name for path in (tmp_path / "agent").rglob("terraform/*") if path.is_symlink()]
        assert len(left) == 1, "the deployment's folder, none of a look"


async def test_what_cannot_be_initialised_raises_with_its_reason(tmp_path: Path) -> None:
    async with shop(tmp_path, 'module "gone" {\n  source = "./gone"\n}\n') as play:
        with pytest.raises(PipecdError, match=r"(?i)module"):
            await looked(play)


async def test_a_pipeline_without_terraform_has_no_state_and_starts_no_terraform(tmp_path: Path) -> None:
    script = {"name": "SCRIPT_RUN", "with": {"run": "true"}}

    async def never() -> Any:
        raise AssertionError("no checkout is needed")

    async with shop(tmp_path, "no HCL", file=app_file([script])) as play:
        assert await looked(play, head=never) == []


def test_a_cut_or_foreign_state_is_refused_without_a_word_of_it() -> None:
    with pytest.raises(Temporary) as cut:
        recorded(f'{{"version": 4, "outputs": "{CANARY}'.encode())
    assert CANARY not in str(cut.value) and cut.value.__suppress_context__
    with pytest.raises(Refused, match="format 3, not 4"):
        recorded(json.dumps({"version": 3, "modules": [{"outputs": CANARY}]}).encode())


@pytest.mark.parametrize("mode", ["data", "managed"])
def test_data_sources_are_no_resources(mode: str) -> None:
    found: Mapping[str, Any] = {
        "mode": mode,
        "type": "aws_ami",
        "name": "web",
        "provider": 'module.net.provider["registry.terraform.io/hashicorp/aws"].west',
        "instances": [{"attributes": {"id": CANARY}}, {"deposed": "aa", "status": "tainted"}],
    }
    shown = recorded(json.dumps({"version": 4, "resources": [found]}).encode())
    if mode == "data":
        assert not shown
        return
    (only,) = shown
    assert (only.id, only.facts) == ("aws_ami.web", {"provider": "registry.terraform.io/hashicorp/aws"})
    assert only.why == "An object" + DEPOSED.removeprefix("an object")


def test_of_a_huge_state_the_sick_are_shown_and_the_message_stays_small() -> None:
    instances: list[dict[str, Any]] = [{"index_key": f"key-{number:060}"} for number in range(2 * MOST)]
    instances[-1]["status"] = "tainted"
    found = {
        "mode": "managed",
        "module": "module.network",
        "type": "aws_route53_record",
        "name": "each",
        "provider": 'provider["registry.terraform.io/hashicorp/aws"]',
        "instances": instances,
    }
    shown = recorded(json.dumps({"version": 4, "resources": [found]}).encode())
    assert len(shown) == MOST + 1
    assert [one.id for one in shown if one.health is Health.UNHEALTHY] == [
        "module.network",
        f'module.network.aws_route53_record.each["key-{2 * MOST - 1:060}"]',
    ]
    assert shown[-1].name == f"and {2 * MOST + 1 - MOST} more"
    look = Application(
        id="a" * 36,
        name="shop",
        piped_id="p",
        project_id="j",
        kind=ApplicationKind.TERRAFORM,
        git_path=GitPath(repo_id="r", path="."),
    )
    assert snapshot_to(look, shown, now=5).ByteSize() < 4 * 1024 * 1024
