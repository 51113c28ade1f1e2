"""Reading files without running Terraform, and errors with their place."""

import re
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipecd import hcl
from pipecd.config.application import load
from pipecd.errors import ConfigError, Place, UserError
from pipecd.model.deployment import Version, VersionKind
from pipecd.model.preview import PreviewRequest
from pipecd.model.stage import Done, Source
from pipecd.platforms.stage_tables import application_types
from pipecd.platforms.terraform import binary, platform
from pipecd.platforms.terraform.config import PlanOptions, Provider
from pipecd.platforms.terraform.preview import plan_preview
from pipecd.platforms.terraform.stages import plan
from tests.platforms.aws.stage_runner import assert_succeeded
from tests.platforms.terraform.shop import INSTALLED, app_file, data, shop_runner
from tests.stages.stage_runner import StageRunner, application, no_providers

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
    return runner.sources.checkout(
        runner.deployment.git_path, commit or runner.deployment.trigger.commit.hash
    )


def test_modules_are_found_among_comments_heredocs_and_templates() -> None:
    modules = {block.labels[0]: block for block in hcl.read(MODULES, "main.tf") if block.kind == "module"}
    assert {name: dict(block.attributes) for name, block in modules.items()} == {
        "network": {"source": "terraform-aws-modules/vpc/aws", "version": "5.1.0"},
        "site": {"source": "git::https://git.example/site.git//web?ref=v1.2.0"},
        "here": {"source": "./here"},
        "computed": {"say": 'a "quoted" } word'},
    }
    assert modules["network"].line == 4
    assert modules["here"].line == 16


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param('module "a" {\n  x = "1\n}\n', 2, id="an unclosed string"),
        pytest.param('module "a" {\n  x = [1, 2\n}\n', 3, id="a list closed by a brace"),
        pytest.param('module "a" {\n  x = 1\n', 3, id="an unclosed block"),
        pytest.param("module\n{}\n", 1, id="a brace on the next line"),
        pytest.param("}\n", 1, id="an extra brace"),
        pytest.param('module "a" {\n  x = (\n', 2, id="an unclosed bracket"),
        pytest.param('module "a" {\n  x = "${1"\n}\n', 2, id="an unclosed template"),
    ],
)
def test_an_invalid_configuration_is_an_error_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ConfigError) as error:
        hcl.read(text, "app/main.tf")
    assert error.value.place and (error.value.place.file, error.value.place.line) == ("app/main.tf", line)


def test_deep_nesting_is_a_configuration_error() -> None:
    for opening in ("[", "{", "(", '"${'):
        with pytest.raises(ConfigError):
            hcl.read("a = " + opening * 100_000, "main.tf")


@given(st.text(alphabet='ab"{}[]()$%=#/*\n\\< -E', max_size=60))
def test_any_text_is_read_or_is_an_error_with_its_line(text: str) -> None:
    try:
        hcl.read(text, "main.tf")
    except ConfigError as error:
        assert error.place and 0 < error.place.line <= text.count("\n") + 1


async def test_versions_are_those_of_the_modules(tmp_path: Path) -> None:
    more = {
        "modules.tf": MODULES,
        "more.tf.json": '{"module": {"cdn": {"source": "example/cdn", "version": "1.0.0"}}}',
    }
    async with shop_runner(tmp_path, data("a", "1"), files=more) as runner, checked_out(runner) as source:
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
    assert [(version.kind, version.version) for version in versions] == [(VersionKind.UNKNOWN, "N/A")]


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
            "app: terraform.backend: Terraform's state would be stored in terraform.tfstate, in a temporary",
            id="no backend",
        ),
        pytest.param(
            {"main.tf": local("../state/x")},
            "app/main.tf:2: terraform.backend.local: Terraform's state would be stored in ../state/x",
            id="a relative path",
        ),
        pytest.param({"main.tf": 'module "a" {\n'}, "app/main.tf:2: invalid Terraform", id="a broken file"),
        pytest.param(
            {"app.pipecd.yaml": app_file(varFiles=["prod.tfvars"])},
            "app/app.pipecd.yaml:6: spec.input.varFiles[0]: file prod.tfvars not found; add it",
            id="a missing variable file",
        ),
        pytest.param(
            {"app.pipecd.yaml": PLUGIN},
            "app/app.pipecd.yaml:5: spec.plugins.terraform.varFiles[0]: file prod.tfvars not found",
            id="a missing variable file in the plugin format",
        ),
        pytest.param(
            {"app.pipecd.yaml": app_file(varFiles=["../../../etc/passwd"])},
            "app/app.pipecd.yaml:6: spec.input.varFiles[0]: ../../../etc/passwd is outside the repository",
            id="a variable file outside the repository",
        ),
    ],
)
async def test_an_invalid_configuration_is_refused_by_the_planner(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        commit = runner.clone.commit_and_push("Break", {f"app/{name}": text for name, text in files.items()})
        async with checked_out(runner, commit) as source:
            with pytest.raises(UserError) as error:
                await platform.load_desired_state(source)
    assert str(error.value).startswith(message)
    assert error.value.remedy


async def unused() -> Source | None:
    raise AssertionError("the deployed files are not read")


async def test_no_terraform_file_is_required_if_no_stage_runs_terraform(tmp_path: Path) -> None:
    file = app_file([{"name": "SCRIPT_RUN", "with": {"run": "true"}}])
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        commit = runner.clone.commit_and_push("Go", {"app/main.tf": None, "app/app.pipecd.yaml": file})
        async with checked_out(runner, commit) as source:
            assert not (await platform.load_desired_state(source)).modules
            preview = await plan_preview(
                PreviewRequest(
                    application=application(runner.deployment),
                    provider=INSTALLED,
                    providers=no_providers,
                    head=source,
                    running=unused,
                )
            )
    assert preview.no_change and preview.summary == "No stage runs Terraform"


async def test_a_backend_configured_by_init_is_checked_after_init(tmp_path: Path) -> None:
    file = app_file(commandFlags={"init": ["-backend-config=path=here.tfstate"]})
    backend = 'terraform {\n  backend "local" {}\n}\n'
    files = {"main.tf": backend + data("a", "1")}
    async with shop_runner(tmp_path, "", file=file, files=files) as runner:
        with pytest.raises(UserError, match=r"would be stored in here\.tfstate"):
            await runner.run("TERRAFORM_PLAN", plan, PlanOptions())


@pytest.mark.parametrize(
    ("app_input", "message"),
    [
        pytest.param(
            {"vars": ["secret"]}, "spec.input.vars[0]: must have the form name=value", id="a variable"
        ),
        pytest.param(
            {"commandEnvs": {"plan": ["=x"]}},
            "spec.input.commandEnvs.plan[0]: must have the form name=value",
            id="an environment variable",
        ),
        pytest.param(
            {"commandFlags": {"shared": ["-chdir=/"]}},
            "spec.input.commandFlags.shared[0]: -chdir is set by the agent; remove it",
            id="a reserved flag",
        ),
        pytest.param(
            {"workspace": "-x"},
            "spec.input.workspace: '-x' is not a workspace name",
            id="a workspace",
        ),
        pytest.param(
            {"varFiles": ["a\0"]},
            "spec.input.varFiles[0]: the value contains a null byte; remove it",
            id="a null byte",
        ),
        pytest.param(
            {"workspaces": "x"},
            "spec.input.workspaces: unknown key 'workspaces'; did you mean workspace?",
            id="an unknown key",
        ),
    ],
)
def test_an_invalid_application_file_is_an_error_with_its_place(
    app_input: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load(app_file(**app_input), "app.pipecd.yaml", lambda kind: application_types(platform))
    place, _, rest = str(error.value).partition(": ")
    assert place.startswith("app.pipecd.yaml:")
    assert rest == message
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("provider", "version", "message"),
    [
        pytest.param(Provider(binary="embedded"), "1.15.5", "", id="the embedded version"),
        pytest.param(Provider(binary="embedded"), "v1.15.5", "", id="with a v prefix"),
        pytest.param(
            Provider(binary="embedded"),
            "0.12.0",
            "app/app.pipecd.yaml:5: spec.input.terraformVersion: version 0.12.0 is required, but the"
            " platform provider's binary is 1.15.5; configure the same version in both",
            id="another configured version",
        ),
        pytest.param(
            Provider(),
            "0.12.0",
            "app/app.pipecd.yaml:5: spec.input.terraformVersion: Terraform 0.12.0 is not installed;"
            " installed: ",
            id="a version that is not installed",
        ),
        pytest.param(
            Provider(binary="/nowhere/tofu"),
            "",
            "/nowhere/tofu is not installed; correct `binary`",
            id="a missing program",
        ),
    ],
)
async def test_the_required_version_runs_or_the_stage_fails(
    tmp_path: Path, provider: Provider, version: str, message: str
) -> None:
    async with shop_runner(tmp_path, data("a", "1"), file=app_file(terraformVersion=version)) as runner:
        runner.provider = provider
        if not message:
            done = assert_succeeded(await runner.run("TERRAFORM_PLAN", plan, PlanOptions()))
            assert done.note == "1 to add, 0 to change, 0 to destroy"
            return
        with pytest.raises(ConfigError) as error:
            await runner.run("TERRAFORM_PLAN", plan, PlanOptions())
        assert str(error.value).startswith(message)


async def test_the_required_embedded_version_is_preferred_to_another_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "bin" / "terraform"
    other.parent.mkdir()
    other.write_text('#!/bin/sh\necho \'{"terraform_version": "1.0.0"}\'\n')
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other.parent}:/usr/bin:/bin")
    async with shop_runner(tmp_path, data("a", "1"), file=app_file(terraformVersion="1.15.5")) as runner:
        runner.provider = Provider()
        done = assert_succeeded(await runner.run("TERRAFORM_PLAN", plan, PlanOptions()))
        assert done.note == "1 to add, 0 to change, 0 to destroy"


async def test_a_version_may_be_installed_next_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `terraform-<version>` in PipeCD's tools directory."""
    old = tmp_path / "tools" / "terraform-1.0.0"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:/usr/bin:/bin")
    assert await binary.find_command("", "v1.0.0", lambda: Place("app.pipecd.yaml")) == (str(old),)


HOSTILE = {
    "open comments": ("/* " * 200_000, "a comment is not closed"),
    "open texts": ("a = <<A\n" * 100_000, "A is not closed"),
    "many tags": (
        "".join(f"a{n} = <<T{n}\nx\nT{n}\n" for n in range(20_000)) + "b = <<X\n",
        "X is not closed",
    ),
    "a long tag": ("a = <<" + "x" * 1_000_000, "not allowed|line|"),
    "escaped quotes": ('a = "' + '\\"' * 500_000, "no closing quote"),
    "open templates": ('a = "' + "${" * 200_000, "deeply|closing"),
    "deep JSON": ("[" * 200_000, "invalid JSON"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_configuration_is_read_quickly(name: str) -> None:
    text, message = HOSTILE[name]
    started = time.thread_time()
    try:
        (hcl.read_json if "JSON" in name else hcl.read)(text, "main.tf")
    except ConfigError as error:
        assert re.search(message, str(error))
    assert time.thread_time() - started < 5


def test_texts_and_comments_end_where_terraform_ends_them() -> None:
    text = """
a = <<-END
  ENDING
  not END
  } module "no" {
  END
/* one */ module "two" { source = "x" } /* # */
b = <<A
A
module "three" { source = "y" }
"""
    assert [block.labels for block in hcl.read(text, "main.tf")] == [("two",), ("three",)]


async def test_the_first_application_of_the_guide_is_planned(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs/guide/getting-started.md").read_text()
    section = guide.partition("## 3. An application")[2].partition("\n## ")[0]
    (main,) = re.findall(r"```hcl\n(.*?)```", section, re.DOTALL)
    (file,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    main = main.replace("/var/lib/piped", str(tmp_path))
    async with shop_runner(tmp_path, "", file=file, files={"main.tf": main}) as runner:
        outcome = await runner.run("TERRAFORM_PLAN", plan, PlanOptions())
    assert isinstance(outcome, Done)
    assert outcome.note == "1 to add, 0 to change, 0 to destroy"
