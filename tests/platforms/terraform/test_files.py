"""What is read from files without running Terraform, and what is refused with its place."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipecd.config.application import load
from pipecd.errors import ConfigError, Place, UserError
from pipecd.model.deployment import Version, VersionKind
from pipecd.model.stage import Source
from pipecd.platforms.terraform import binary, hcl, platform
from pipecd.platforms.terraform.config import PlanOptions, Provider
from pipecd.platforms.terraform.stages import plan
from tests.platforms.terraform.shop import app_file, data, shop_runner
from tests.stages.stage_runner import StageRunner

MODULES = """
# module "not_this" { source = "x" }
/* module "nor_this" { */
module "network" {
  source  = "terraform-aws-modules/vpc/aws"
  version = "5.1.0" # the newest
  names   = [for name in var.names : "${name}-}" if name != "}"]
  text    = <<-EOT
    } module "nor this" {
    EOT
  nested { source = "no" }
}
module "site" {
  source = "git::https://git.example/site.git//web?ref=v1.2.0"
}
module "here" { source = "./here" }
module "computed" {
  source = "${var.where}/x"
  say    = "a \\"quoted\\" } word"
}
locals { a = { b = "}" } }
"""


def checked_out(runner: StageRunner, commit: str = "") -> AbstractAsyncContextManager[Source]:
    return runner.sources.checkout(runner.deployment.git_path, commit or runner.deployment.trigger.commit.hash)


def test_modules_are_found_among_comments_heredocs_and_templates() -> None:
    found = {block.labels[0]: block for block in hcl.read(MODULES, "main.tf") if block.kind == "module"}
    assert {name: dict(block.attributes) for name, block in found.items()} == {
        "network": {"source": "terraform-aws-modules/vpc/aws", "version": "5.1.0"},
        "site": {"source": "git::https://git.example/site.git//web?ref=v1.2.0"},
        "here": {"source": "./here"},
        "computed": {"say": 'a "quoted" } word'},
    }
    assert found["network"].line == 4
    assert found["here"].line == 16


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param('module "a" {\n  x = "1\n}\n', 2, id="a text without its end"),
        pytest.param('module "a" {\n  x = [1, 2\n}\n', 3, id="a list closed by a brace"),
        pytest.param('module "a" {\n  x = 1\n', 3, id="a block without its end"),
        pytest.param("module\n{}\n", 1, id="a brace on the next line"),
        pytest.param("}\n", 1, id="a brace too many"),
        pytest.param('module "a" {\n  x = (\n', 2, id="a bracket without its end"),
        pytest.param('module "a" {\n  x = "${1"\n}\n', 2, id="a template without its end"),
    ],
)
def test_what_is_no_configuration_is_told_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ConfigError) as error:
        hcl.read(text, "app/main.tf")
    assert error.value.place and (error.value.place.file, error.value.place.line) == ("app/main.tf", line)


def test_brackets_without_end_are_a_mistake_and_no_fault() -> None:
    for opening in ("[", "{", "(", '"${'):
        with pytest.raises(ConfigError):
            hcl.read("a = " + opening * 100_000, "main.tf")


@given(st.text(alphabet='ab"{}[]()$%=#/*\n\\< -E', max_size=60))
def test_any_text_is_read_or_refused_with_its_line(text: str) -> None:
    try:
        hcl.read(text, "main.tf")
    except ConfigError as error:
        assert error.place and 0 < error.place.line <= text.count("\n") + 1


async def test_versions_are_those_of_modules(tmp_path: Path) -> None:
    more = {
        "modules.tf": MODULES,
        "more.tf.json": '{"module": {"cdn": {"source": "example/cdn", "version": "1.0.0"}}}',
    }
    async with shop_runner(tmp_path, data("a", "1"), **more) as runner, checked_out(runner) as source:
        versions = platform.versions(await platform.load_desired_state(source))
    kind = VersionKind.TERRAFORM_MODULE
    site = "git::https://git.example/site.git//web?ref=v1.2.0"
    assert list(versions) == [
        Version(kind=kind, name="network", version="5.1.0", url="terraform-aws-modules/vpc/aws"),
        Version(kind=kind, name="site", version="v1.2.0", url=site),
        Version(kind=kind, name="here", version="N/A", url="./here"),
        Version(kind=kind, name="computed", version="N/A"),
        Version(kind=kind, name="cdn", version="1.0.0", url="example/cdn"),
    ]


async def test_without_modules_the_version_is_unknown(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, data("a", "1")) as runner, checked_out(runner) as source:
        versions = platform.versions(await platform.load_desired_state(source))
    assert [(one.kind, one.version) for one in versions] == [(VersionKind.UNKNOWN, "N/A")]


PLUGIN = """apiVersion: pipecd.dev/v1beta1
kind: Application
spec:
  name: shop
  plugins: {terraform: {varFiles: [prod.tfvars]}}
"""


def local(path: str) -> str:
    return f'terraform {{\n  backend "local" {{\n    path = "{path}"\n  }}\n}}\n'


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param(
            {"main.tf": data("a", "1")},
            "app: terraform.backend: Terraform's state would be kept in terraform.tfstate, in a checkout",
            id="no backend",
        ),
        pytest.param(
            {"main.tf": local("../state/x")},
            "app/main.tf:2: terraform.backend.local: Terraform's state would be kept in ../state/x",
            id="a relative path",
        ),
        pytest.param(
            {"main.tf": 'module "a" {\n'}, "app/main.tf:2: this is no Terraform", id="a broken file"
        ),
        pytest.param(
            {"app.pipecd.yaml": app_file(varFiles=["prod.tfvars"])},
            "app/app.pipecd.yaml:6: spec.input.varFiles[0]: there is no file prod.tfvars; write it relative",
            id="a missing file of variables",
        ),
        pytest.param(
            {"app.pipecd.yaml": PLUGIN},
            "app/app.pipecd.yaml:5: spec.plugins.terraform.varFiles[0]: there is no file prod.tfvars",
            id="the same in a file for plugins",
        ),
        pytest.param(
            {"app.pipecd.yaml": app_file(varFiles=["../../../etc/passwd"])},
            "app/app.pipecd.yaml:6: spec.input.varFiles[0]: ../../../etc/passwd is outside the repository",
            id="a file of variables outside",
        ),
    ],
)
async def test_what_cannot_work_is_refused_at_planning(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        commit = runner.clone.commit_and_push("Break", {f"app/{name}": text for name, text in files.items()})
        async with checked_out(runner, commit) as source:
            with pytest.raises(UserError) as error:
                await platform.load_desired_state(source)
    assert str(error.value).startswith(message)
    assert error.value.remedy


async def test_no_terraform_file_is_needed_where_no_stage_runs_terraform(tmp_path: Path) -> None:
    file = app_file([{"name": "SCRIPT_RUN", "with": {"run": "true"}}])
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        commit = runner.clone.commit_and_push("Go", {"app/main.tf": None, "app/app.pipecd.yaml": file})
        async with checked_out(runner, commit) as source:
            assert not (await platform.load_desired_state(source)).modules


async def test_a_backend_that_only_init_knows_is_checked_after_it(tmp_path: Path) -> None:
    file = app_file(commandFlags={"init": ["-backend-config=path=here.tfstate"]})
    backend = 'terraform {\n  backend "local" {}\n}\n'
    async with shop_runner(tmp_path, "", file=file, **{"main.tf": backend + data("a", "1")}) as runner:
        with pytest.raises(UserError, match=r"would be kept in here\.tfstate"):
            await runner.run("TERRAFORM_PLAN", plan, PlanOptions())


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        pytest.param(
            {"vars": ["secret"]}, "spec.input.vars[0]: must be written as name=value", id="a variable"
        ),
        pytest.param(
            {"commandEnvs": {"plan": ["=x"]}},
            "spec.input.commandEnvs.plan[0]: must be written as name=value",
            id="an environment",
        ),
        pytest.param(
            {"commandFlags": {"shared": ["-chdir=/"]}},
            "spec.input.commandFlags.shared[0]: -chdir is set by the agent itself; take it out",
            id="a flag of ours",
        ),
        pytest.param(
            {"workspace": "-x"},
            "spec.input.workspace: '-x' is not the name of a workspace",
            id="a workspace",
        ),
        pytest.param({"varFiles": ["a\0"]}, "spec.input.varFiles[0]: holds a zero byte", id="a zero byte"),
        pytest.param(
            {"workspaces": "x"},
            "spec.input.workspaces: unknown key 'workspaces'; did you mean workspace?",
            id="a key",
        ),
    ],
)
def test_a_wrong_application_file_is_told_with_its_place(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(app_file(**asked), "app.pipecd.yaml", lambda kind: platform)
    place, _, rest = str(error.value).partition(": ")
    assert place.startswith("app.pipecd.yaml:")
    assert rest == message
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("provider", "version", "message"),
    [
        pytest.param(Provider(binary="embedded"), "1.15.5", "", id="the embedded one fits"),
        pytest.param(Provider(binary="embedded"), "v1.15.5", "", id="with a v"),
        pytest.param(
            Provider(binary="embedded"),
            "0.12.0",
            "app/app.pipecd.yaml:5: spec.input.terraformVersion: version 0.12.0 is asked for, and the"
            " platform provider's binary is 1.15.5; make the two agree",
            id="the configured one is another",
        ),
        pytest.param(
            Provider(),
            "0.12.0",
            "app/app.pipecd.yaml:5: spec.input.terraformVersion: Terraform 0.12.0 is not installed; there is",
            id="none is of that version",
        ),
        pytest.param(
            Provider(binary="/nowhere/tofu"),
            "",
            "/nowhere/tofu is not installed; correct `binary`",
            id="no program",
        ),
    ],
)
async def test_the_version_that_is_asked_for_runs_or_none(
    tmp_path: Path, provider: Provider, version: str, message: str
) -> None:
    async with shop_runner(tmp_path, data("a", "1"), file=app_file(terraformVersion=version)) as runner:
        runner.provider = provider
        if not message:
            done = await runner.run("TERRAFORM_PLAN", plan, PlanOptions())
            assert done.note == "1 to add, 0 to change, 0 to destroy"
            return
        with pytest.raises(ConfigError) as error:
            await runner.run("TERRAFORM_PLAN", plan, PlanOptions())
        assert str(error.value).startswith(message)


async def test_the_version_of_the_embedded_one_is_taken_over_another_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "bin" / "terraform"
    other.parent.mkdir()
    other.write_text('#!/bin/sh\necho \'{"terraform_version": "1.0.0"}\'\n')
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other.parent}:/usr/bin:/bin")
    async with shop_runner(tmp_path, data("a", "1"), file=app_file(terraformVersion="1.15.5")) as runner:
        runner.provider = Provider()
        done = await runner.run("TERRAFORM_PLAN", plan, PlanOptions())
        assert done.note == "1 to add, 0 to change, 0 to destroy"


async def test_a_version_may_be_installed_beside_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under `terraform-<version>`, where PipeCD's tools are."""
    old = tmp_path / "tools" / "terraform-1.0.0"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:/usr/bin:/bin")
    assert await binary.find_command("", "v1.0.0", lambda: Place("app.pipecd.yaml")) == (str(old),)
