"""The shown plan is applied, at the requested commit; with real Terraform and real Git."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipecd.errors import ConfigError, Refused
from pipecd.model.stage import Done
from pipecd.model.status import StageStatus
from pipecd.platforms.terraform import platform
from pipecd.platforms.terraform.config import PlanOptions, Provider
from pipecd.platforms.terraform.stages import DISPLAY_KEY, STORED_PLAN, apply, plan, rollback, sync
from tests.platforms.aws.stage_runner import assert_succeeded
from tests.platforms.terraform.shop import EMBEDDED, app_file, configuration, data, shop_runner, values
from tests.stages.stage_runner import StageRunner


async def run_plan(runner: StageRunner, **options: Any) -> Any:
    return await runner.run("TERRAFORM_PLAN", plan, PlanOptions.model_validate(options))


async def test_a_sync_applies_its_plan_and_a_second_one_has_no_changes(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, data("a", "1"), provider=EMBEDDED) as runner:
        first = await runner.run("TERRAFORM_SYNC", sync)
        assert first == Done(note="Applied: 1 added, 0 changed, 0 destroyed", saved=first.saved)
        assert values(tmp_path / "state") == {"a": "1"}
        assert "Terraform 1.15" in runner.log.text
        again = runner.at(runner.deployment.trigger.commit.hash, deployment_id="e")
        assert assert_succeeded(await again.run("TERRAFORM_SYNC", sync)).note == "No changes"


async def test_the_shown_plan_is_applied_in_another_checkout(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        shown = await run_plan(runner)
        assert shown.note == "1 to add, 0 to change, 0 to destroy"
        assert shown.saved[DISPLAY_KEY] == shown.note
        assert values(tmp_path / "state") == {}
        # The files from which the plan was created are not read again.
        assert "will be created" in runner.log.text
        done = await runner.run("TERRAFORM_APPLY", apply)
        assert isinstance(done, Done)
        assert values(tmp_path / "state") == {"a": "1"}
        assert runner.log.text.count("$ terraform plan") == 1


async def test_a_plan_is_not_applied_after_the_state_changed(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        await run_plan(runner)
        stored = dict(runner.stored)
        other = runner.at(
            runner.clone.commit_and_push(
                "Other", {"app/main.tf": configuration(tmp_path / "state", data("b", "2"))}
            )
        )
        await other.run("TERRAFORM_SYNC", sync, stage_id="other")
        runner.stored = stored
        with pytest.raises(
            Refused, match=r"changed after the plan was created; a new plan would differ in terraform_data\.b"
        ) as error:
            await runner.run("TERRAFORM_APPLY", apply)
        assert error.value.remedy == "sync the application again to create a new plan"
        assert values(tmp_path / "state") == {"b": "2"}


async def test_terraform_refuses_a_plan_of_an_older_state_with_equal_content(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        await runner.run("TERRAFORM_SYNC", sync)
        changed = configuration(tmp_path / "state", data("a", "2"))
        later = runner.at(runner.clone.commit_and_push("Change", {"app/main.tf": changed}), deployment_id="e")
        await run_plan(later)
        state = json.loads((tmp_path / "state").read_text())
        (tmp_path / "state").write_text(json.dumps({**state, "serial": state["serial"] + 1}))
        with pytest.raises(Refused, match="the state changed after the plan was created"):
            await later.run("TERRAFORM_APPLY", apply)
        assert values(tmp_path / "state") == {"a": "1"}


def counted_by_remote_state(folder: Path) -> str:
    """As many resources as the output `count` of another state."""
    return f'''
data "terraform_remote_state" "elsewhere" {{
  backend = "local"
  config = {{ path = "{folder}/elsewhere" }}
}}
resource "terraform_data" "a" {{
  count = data.terraform_remote_state.elsewhere.outputs.count
  input = plantimestamp()
}}
'''


def set_remote_count(folder: Path, count: int) -> None:
    outputs = {"count": {"value": count, "type": "number"}}
    state = {"version": 4, "terraform_version": "1.15.5", "serial": 1, "lineage": "l", "resources": []}
    (folder / "elsewhere").write_text(json.dumps({**state, "outputs": outputs}))


async def test_a_plan_is_not_applied_after_infrastructure_changed_even_if_the_state_did_not(
    tmp_path: Path,
) -> None:
    set_remote_count(tmp_path, 1)
    async with shop_runner(tmp_path, counted_by_remote_state(tmp_path)) as runner:
        await run_plan(runner)
        set_remote_count(tmp_path, 2)
        with pytest.raises(Refused, match=r"differ in terraform_data.a\[1\]"):
            await runner.run("TERRAFORM_APPLY", apply)
        assert not (tmp_path / "state").exists()


async def test_a_plan_is_applied_if_only_the_time_of_planning_differs(tmp_path: Path) -> None:
    set_remote_count(tmp_path, 1)
    async with shop_runner(tmp_path, counted_by_remote_state(tmp_path)) as runner:
        await run_plan(runner)
        done = assert_succeeded(await runner.run("TERRAFORM_APPLY", apply))
        assert done.note == "Applied: 1 added, 0 changed, 0 destroyed"


async def test_a_plan_of_another_deployment_is_never_applied(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        await run_plan(runner)
        other = runner.at(runner.deployment.trigger.commit.hash, deployment_id="other")
        await run_plan(other)
        with pytest.raises(Refused, match="no longer stored"):
            await runner.run("TERRAFORM_APPLY", apply)
        assert values(tmp_path / "state") == {}


async def test_a_plan_that_was_tampered_with_is_never_applied(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        await run_plan(runner)
        runner.stored[STORED_PLAN] = runner.stored[STORED_PLAN][:-1] + bytes(
            [runner.stored[STORED_PLAN][-1] ^ 1]
        )
        with pytest.raises(Refused, match="no longer stored"):
            await runner.run("TERRAFORM_APPLY", apply)


@pytest.mark.parametrize("ends", [True, False])
async def test_no_changes_end_the_deployment_if_configured(tmp_path: Path, ends: bool) -> None:
    async with shop_runner(tmp_path, data("a", "1"), provider=EMBEDDED) as runner:
        first = await run_plan(runner, exitOnNoChanges=ends)
        assert first.status is StageStatus.SUCCESS
        await runner.run("TERRAFORM_APPLY", apply)
        again = runner.at(runner.deployment.trigger.commit.hash, deployment_id="e")
        second = await run_plan(again, exitOnNoChanges=ends)
        assert second.status is (StageStatus.EXITED if ends else StageStatus.SUCCESS)
        assert second.note.startswith("No changes")
        if not ends:
            assert assert_succeeded(await again.run("TERRAFORM_APPLY", apply)).note == "No changes"


async def test_apply_without_a_plan_stage_plans_first(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        assert isinstance(await runner.run("TERRAFORM_APPLY", apply), Done)
        assert values(tmp_path / "state") == {"a": "1"}


async def test_changes_are_counted_per_kind(tmp_path: Path) -> None:
    body = data("a", "1") + data("b", "1") + data("c", "1")
    async with shop_runner(tmp_path, body) as runner:
        await runner.run("TERRAFORM_SYNC", sync)
        changed = configuration(tmp_path / "state", data("a", "2") + data("b", "1") + data("d", "1"))
        later = runner.at(runner.clone.commit_and_push("Change", {"app/main.tf": changed}), deployment_id="e")
        shown = await run_plan(later)
        assert shown.note == "1 to add, 1 to change, 1 to destroy"
        assert json.loads(shown.saved["pipecd/terraform-changes"]) == {
            "import": 0,
            "add": 1,
            "change": 1,
            "destroy": 1,
            "forget": 0,
        }


async def test_moving_a_resource_changes_only_the_state_and_is_applied(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        await runner.run("TERRAFORM_SYNC", sync)
        moved = data("b", "1") + "moved {\n  from = terraform_data.a\n  to = terraform_data.b\n}\n"
        files = {"app/main.tf": configuration(tmp_path / "state", moved)}
        later = runner.at(runner.clone.commit_and_push("Move", files), deployment_id="e")
        assert (await run_plan(later, exitOnNoChanges=True)).note == "Only the state changes"
        await later.run("TERRAFORM_APPLY", apply)
        assert values(tmp_path / "state") == {"b": "1"}


async def test_rollback_applies_the_previous_commit(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        await runner.run("TERRAFORM_SYNC", sync)
        before = runner.deployment.trigger.commit.hash
        changed = configuration(tmp_path / "state", data("a", "2") + data("b", "1"))
        commit = runner.clone.commit_and_push("Change", {"app/main.tf": changed})
        later = runner.at(commit, running=before, deployment_id="e")
        await later.run("TERRAFORM_SYNC", sync)
        assert values(tmp_path / "state") == {"a": "2", "b": "1"}
        done = assert_succeeded(await later.run("ROLLBACK", rollback, rollback=True))
        assert done.note == "Applied: 0 added, 1 changed, 1 destroyed"
        assert values(tmp_path / "state") == {"a": "1"}
        assert f"Rolling back to commit {before[:12]}" in later.log.text


async def test_a_first_deployment_has_nothing_to_roll_back_to(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        with pytest.raises(Refused, match="there is no earlier successful deployment"):
            await runner.run("ROLLBACK", rollback, rollback=True)


async def test_variables_come_from_provider_application_files_and_environment(tmp_path: Path) -> None:
    body = "".join(
        f'variable "{name}" {{\n  default = "default"\n}}\n' + data(name, f"${{var.{name}}}")
        for name in ("given", "both", "app", "file", "env", "planned")
    )
    file = app_file(
        vars=["both=app", "app=app"],
        varFiles=["values.tfvars"],
        commandEnvs={"shared": ["TF_VAR_env=env"]},
        commandFlags={"plan": ["-var", "planned=planned"]},
    )
    async with shop_runner(tmp_path, body, file=file, files={"values.tfvars": 'file = "file"\n'}) as runner:
        runner.provider = Provider(vars=["given=provider", "both=provider"])
        await run_plan(runner)
        await runner.run("TERRAFORM_APPLY", apply)
        assert values(tmp_path / "state") == {
            "given": "provider",
            "both": "app",
            "app": "app",
            "file": "file",
            "env": "env",
            "planned": "planned",
        }
        assert "-var=both=…" in runner.log.text


async def test_a_target_of_apply_affects_the_shown_plan(tmp_path: Path) -> None:
    file = app_file(commandFlags={"apply": ["-target=terraform_data.a", "-parallelism=2"]})
    async with shop_runner(tmp_path, data("a", "1") + data("b", "1"), file=file) as runner:
        assert (await run_plan(runner)).note == "1 to add, 0 to change, 0 to destroy"
        await runner.run("TERRAFORM_APPLY", apply)
        assert values(tmp_path / "state") == {"a": "1"}


async def test_workspaces_have_separate_states(tmp_path: Path) -> None:
    backend = (
        'terraform {\n  backend "local" {\n'
        f'    path = "{tmp_path}/state"\n    workspace_dir = "{tmp_path}/spaces"\n  }}\n}}\n'
    )
    (tmp_path / "spaces" / "blue").mkdir(parents=True)
    files = {"main.tf": backend + data("a", "${terraform.workspace}")}
    async with shop_runner(tmp_path, "", file=app_file(workspace="blue"), files=files) as runner:
        await run_plan(runner)
        await runner.run("TERRAFORM_APPLY", apply)
        assert values(tmp_path / "spaces" / "blue" / "terraform.tfstate") == {"a": "blue"}
        assert not (tmp_path / "state").exists()


async def test_a_missing_workspace_is_an_error_with_its_place(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, data("a", "1"), file=app_file(workspace="blue")) as runner:
        with pytest.raises(ConfigError) as error:
            await run_plan(runner)
        assert str(error.value) == (
            "app/app.pipecd.yaml:5: spec.input.workspace: the workspace blue does not exist; create it with"
            " `terraform workspace new blue`, or correct its name"
        )


async def test_a_workspace_with_a_temporary_state_is_refused(tmp_path: Path) -> None:
    file = app_file(workspace="blue", commandEnvs={"init": ["TF_WORKSPACE=blue"]})
    async with shop_runner(tmp_path, data("a", "1"), file=file) as runner:
        with pytest.raises((Refused, ConfigError)):
            await run_plan(runner)


async def test_files_generated_by_planning_exist_when_the_plan_is_applied(tmp_path: Path) -> None:
    """An absolute path and the providers' lock file belong to the plan as well."""
    body = 'resource "terraform_data" "a" {\n  input = "${abspath(path.module)}/x"\n}\n'
    async with shop_runner(tmp_path, body) as runner:
        await run_plan(runner)
        await runner.run("TERRAFORM_APPLY", apply)
        again = runner.at(runner.deployment.trigger.commit.hash, deployment_id="e")
        assert (await run_plan(again)).note == "No changes"


async def test_a_module_next_to_the_application_is_found(tmp_path: Path) -> None:
    body = 'module "beside" {\n  source = "../modules/beside"\n  word   = "1"\n}\n'
    module = 'variable "word" {}\n' + data("inner", "${var.word}")
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        files = {
            "app/main.tf": configuration(tmp_path / "state", body),
            "modules/beside/main.tf": module,
        }
        later = runner.at(runner.clone.commit_and_push("Use a module", files))
        await run_plan(later)
        await later.run("TERRAFORM_APPLY", apply)
        assert values(tmp_path / "state") == {"inner": "1"}


async def test_an_error_of_terraform_is_the_failure_reason(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, 'resource "terraform_data" "a" {\n  input = var.missing\n}\n') as runner:
        with pytest.raises(
            Refused, match=r"terraform plan: Reference to undeclared input variable \(main.tf line 7\)"
        ):
            await run_plan(runner)
        assert "main.tf line 7" in runner.log.text


async def test_applications_of_one_repository_are_independent(tmp_path: Path) -> None:
    names = ("one", "two", "three")
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        commit = runner.clone.commit_and_push(
            "More",
            {
                f"{name}/{file}": text
                for name in names
                for file, text in {
                    "app.pipecd.yaml": app_file(),
                    "main.tf": configuration(tmp_path / f"{name}.tfstate", data("a", name)),
                }.items()
            },
        )
        async with asyncio.timeout(400), asyncio.TaskGroup() as tasks:
            for name in names:
                path = replace(runner.deployment.git_path, path=name)
                other = runner.at(commit, deployment_id=name)
                other.deployment = replace(other.deployment, application_id=name, git_path=path)
                tasks.create_task(other.run("TERRAFORM_SYNC", sync))
        assert [values(tmp_path / f"{name}.tfstate") for name in names] == [{"a": name} for name in names]


async def test_the_platform_registers_its_stages() -> None:
    assert set(platform.stages) == {"TERRAFORM_SYNC", "TERRAFORM_PLAN", "TERRAFORM_APPLY", "ROLLBACK"}
