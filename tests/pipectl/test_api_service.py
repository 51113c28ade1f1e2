"""APIService and ProgramService as a program with an API key sees them: over gRPC, code by code."""

from collections.abc import Mapping
from typing import Any

import pytest

from pipecd import proto_json
from pipecd.client import Client
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.lists import Paging
from pipecd.errors import Conflict, NotFound, PermissionDenied, PipecdError, Refused
from pipecd.schema.api import applications_pb2 as applications
from pipecd.schema.api import commands_pb2 as commands
from pipecd.schema.api import deployments_pb2 as deployments
from pipecd.schema.api import events_pb2 as events
from pipecd.schema.api import logs_pb2 as logs
from pipecd.schema.api import pipeds_pb2 as pipeds
from pipecd.schema.api import plan_preview_pb2 as previews
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.artifact_pb2 import DeployTargets
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.event_pb2 import Event
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.plan_preview_pb2 import PlanPreviewCommandResult
from pipecd.schema.model.stage_log_pb2 import LogBlock
from pipecd.schema.model.stage_pb2 import PipelineStage
from pipecd.schema.pipecd.v1.program_pb2 import ListPipedsRequest
from tests.controlplane.server_fixture import PROJECT, Console, ControlPlane
from tests.pipectl.running import REMOTE

GIT_PATH = ApplicationGitPath(repo=ApplicationGitRepository(id="demo"), path="apps/shop")


async def add(client: Client, piped_id: str, name: str = "shop", **more: Any) -> str:
    request = applications.AddApplicationRequest(
        name=name,
        piped_id=piped_id,
        git_path=GIT_PATH,
        kind=ApplicationKind.TERRAFORM,
        platform_provider="terraform",
        **more,
    )
    return (await client.call(client.api.AddApplication, request)).application_id


async def shown(client: Client, app_id: str) -> Application:
    request = applications.GetApplicationRequest(application_id=app_id)
    return (await client.call(client.api.GetApplication, request)).application


async def test_a_repository_that_the_agent_did_not_report_is_not_found(client: Client, piped_id: str) -> None:
    request = applications.AddApplicationRequest(
        name="shop",
        piped_id=piped_id,
        git_path=ApplicationGitPath(repo=ApplicationGitRepository(id="elsewhere"), path="apps"),
        kind=ApplicationKind.TERRAFORM,
    )
    with pytest.raises(NotFound, match="no repository elsewhere; it reported demo"):
        await client.call(client.api.AddApplication, request)


async def test_an_application_gets_its_remote_from_the_agent(client: Client, piped_id: str) -> None:
    made = await shown(client, await add(client, piped_id, labels={"env": "prod"}))
    assert (made.git_path.repo.remote, made.git_path.repo.branch) == (REMOTE, "main")
    assert made.git_path.config_filename == "app.pipecd.yaml"
    assert (made.platform_provider, made.cloud_provider) == ("terraform", "terraform")


async def test_what_was_deleted_is_listed_among_the_disabled_and_does_not_change(
    client: Client, piped_id: str
) -> None:
    app_id = await add(client, piped_id)
    request = applications.DeleteApplicationRequest(application_id=app_id)
    await client.call(client.api.DeleteApplication, request)
    listed = await client.call(
        client.api.ListApplications, applications.ListApplicationsRequest(disabled=True)
    )
    assert [(one.id, one.deleted) for one in listed.applications] == [(app_id, True)]
    with pytest.raises(Refused, match="was deleted"):
        await client.call(
            client.api.DisableApplication, applications.DisableApplicationRequest(application_id=app_id)
        )
    with pytest.raises(Conflict, match="is deleted"):
        await client.call(
            client.api.SyncApplication, applications.SyncApplicationRequest(application_id=app_id)
        )


async def test_pages_hold_as_many_as_match_and_meet_without_a_gap(client: Client, piped_id: str) -> None:
    """Those with another label are between them, and fill no place of a page."""
    wanted = []
    for number in range(5):
        wanted.append(await add(client, piped_id, f"prod-{number}", labels={"env": "prod"}))
        await add(client, piped_id, f"dev-{number}", labels={"env": "dev"})
    found, cursor = [], ""
    for size in (2, 2, 1):
        request = applications.ListApplicationsRequest(labels={"env": "prod"}, limit=2, cursor=cursor)
        page = await client.call(client.api.ListApplications, request)
        assert len(page.applications) == size
        found += [one.id for one in page.applications]
        cursor = page.cursor
    assert (found, cursor) == (wanted[::-1], "")
    every = await client.call(client.api.ListApplications, applications.ListApplicationsRequest())
    assert len(every.applications) == 10 and every.cursor == ""
    with pytest.raises(Refused, match="start at the first page"):
        await client.call(
            client.api.ListApplications, applications.ListApplicationsRequest(limit=2, cursor="nonsense")
        )


async def test_a_kind_and_a_status_are_names(client: Client) -> None:
    with pytest.raises(Refused, match="CASTLE is no kind"):
        await client.call(
            client.api.ListApplications, applications.ListApplicationsRequest(kind="CASTLE", limit=1)
        )
    with pytest.raises(Refused, match="GREAT is no status"):
        await client.call(client.api.ListDeployments, deployments.ListDeploymentsRequest(statuses=["GREAT"]))


async def test_an_application_moves_to_another_agent_and_loses_its_targets(
    plane: ControlPlane, client: Client, piped_id: str
) -> None:
    app_id = await add(client, piped_id)
    targets = applications.UpdateApplicationDeployTargetsRequest(
        application_id=app_id,
        deploy_targets_by_plugin={"terraform": DeployTargets(deploy_targets=["dev", "prod"])},
    )
    await client.call(client.api.UpdateApplicationDeployTargets, targets)
    given = (await shown(client, app_id)).deploy_targets_by_plugin
    assert list(given["terraform"].deploy_targets) == ["dev", "prod"]
    other, _ = await plane.register_piped("other")
    moved = applications.UpdateApplicationRequest(
        application_id=app_id,
        piped_id=other,
        platform_provider="tofu",
        git_path=ApplicationGitPath(
            repo=ApplicationGitRepository(id="demo"), path="elsewhere", config_filename="new.yaml"
        ),
    )
    await client.call(client.api.UpdateApplication, moved)
    now = await shown(client, app_id)
    assert (now.piped_id, now.platform_provider, now.name) == (other, "tofu", "shop")
    assert (now.git_path.config_filename, now.git_path.path) == ("new.yaml", "apps/shop")
    assert not now.deploy_targets_by_plugin


async def test_files_are_renamed_together_or_not_at_all(
    plane: ControlPlane, client: Client, piped_id: str
) -> None:
    ours = [await add(client, piped_id, name) for name in ("a", "b")]
    await plane.served.plane.store.create(Application(id="theirs", name="t", project_id="other"))
    request = applications.RenameApplicationConfigFileRequest(
        application_ids=[*ours, "theirs"], new_filename="x.yaml"
    )
    with pytest.raises(PermissionDenied, match="does not belong"):
        await client.call(client.api.RenameApplicationConfigFile, request)
    assert {(await shown(client, one)).git_path.config_filename for one in ours} == {"app.pipecd.yaml"}
    request.application_ids.remove("theirs")
    await client.call(client.api.RenameApplicationConfigFile, request)
    assert {(await shown(client, one)).git_path.config_filename for one in ours} == {"x.yaml"}


async def test_every_stage_has_logs_but_a_rollback_that_said_nothing(
    plane: ControlPlane, client: Client, piped_id: str
) -> None:
    stages = [
        PipelineStage(id="stage-0", name="WAIT"),
        PipelineStage(id="stage-1", name="SCRIPT_RUN", retried_count=1),
        PipelineStage(id="Rollback", name="ROLLBACK"),
    ]
    deployment = Deployment(id="d1", application_id="a", piped_id=piped_id, project_id=PROJECT, stages=stages)
    await plane.served.plane.store.create(deployment)
    keep = plane.served.plane.logs.append
    await keep(deployment, "stage-1", 0, [LogBlock(index=1, log="the first try", created_at=1)])
    await keep(deployment, "stage-1", 1, [LogBlock(index=2, log="the second try", created_at=1)])
    request = logs.ListStageLogsRequest(deployment_id="d1")
    found = (await client.call(client.api.ListStageLogs, request)).stage_logs
    said = {stage: [block.log for block in found[stage].blocks] for stage in found}
    assert said == {"stage-0": [], "stage-1": ["the second try"]}


async def test_an_event_leads_to_the_commit_that_caused_it(plane: ControlPlane, client: Client) -> None:
    request = events.RegisterEventRequest(
        name="image-update", data="v3", commit_hash="c0ffee", commit_url="https://git.example/c0ffee"
    )
    made = await client.call(client.api.RegisterEvent, request)
    (trace,) = (await lists.traces(plane.served.plane.store, PROJECT, "c0ffee", Paging())).records
    assert trace.commit_url == "https://git.example/c0ffee" and trace.commit_timestamp > 0
    event = (await plane.served.plane.store.get(Event, made.event_id)).message
    assert event.event_key.startswith("da3a1cc1") and event.trigger_commit_hash == "c0ffee"
    without = events.RegisterEventRequest(name="image-update", data="v4", commit_hash="beef")
    await client.call(client.api.RegisterEvent, without)
    traces = await lists.traces(plane.served.plane.store, PROJECT, "beef", Paging())
    assert not traces.records, "without a link there is nothing to lead to"


async def test_agents_are_registered_renamed_and_shown_without_their_keys(
    plane: ControlPlane, client: Client
) -> None:
    theirs = Console(plane.url)
    await theirs.sign_in(project="other")
    await theirs.call("RegisterPiped", name="theirs")
    await theirs.http.aclose()
    made = await client.call(client.api.RegisterPiped, pipeds.RegisterPipedRequest(name="home", desc="d"))
    change = pipeds.UpdatePipedRequest(piped_id=made.id, name="attic", desc="up")
    await client.call(client.api.UpdatePiped, change)
    one = (await client.call(client.api.GetPiped, pipeds.GetPipedRequest(piped_id=made.id))).piped
    assert (one.name, one.desc, one.keys[0].hash, one.keys[0].creator) == ("attic", "up", "redacted", "ci")
    listed = (await client.call(client.program.ListPipeds, ListPipedsRequest())).pipeds
    assert [(piped.name, piped.keys[0].hash) for piped in listed] == [("attic", "redacted")]
    assert made.key not in str(listed)


#: Calls about what is another project's, and what PipeCD's clients expect of each.
FOREIGN: Mapping[str, tuple[Any, type[PipecdError]]] = {
    "GetApplication": (applications.GetApplicationRequest(application_id="theirs"), Refused),
    "EnableApplication": (applications.EnableApplicationRequest(application_id="theirs"), Refused),
    "DisableApplication": (applications.DisableApplicationRequest(application_id="theirs"), Refused),
    "DeleteApplication": (applications.DeleteApplicationRequest(application_id="theirs"), Refused),
    "SyncApplication": (applications.SyncApplicationRequest(application_id="theirs"), Refused),
    "UpdateApplicationDeployTargets": (
        applications.UpdateApplicationDeployTargetsRequest(
            application_id="theirs", deploy_targets_by_plugin={"x": DeployTargets()}
        ),
        PermissionDenied,
    ),
    "GetDeployment": (deployments.GetDeploymentRequest(deployment_id="theirs"), Refused),
    "ListStageLogs": (logs.ListStageLogsRequest(deployment_id="theirs"), Refused),
    "GetCommand": (commands.GetCommandRequest(command_id="theirs"), Refused),
    "GetPlanPreviewResults": (
        previews.GetPlanPreviewResultsRequest(commands=["theirs"]),
        PermissionDenied,
    ),
    "GetPiped": (pipeds.GetPipedRequest(piped_id="theirs"), Refused),
    "UpdatePiped": (pipeds.UpdatePipedRequest(piped_id="theirs", name="n"), PermissionDenied),
    "EnablePiped": (pipeds.EnablePipedRequest(piped_id="theirs"), PermissionDenied),
    "DisablePiped": (pipeds.DisablePipedRequest(piped_id="theirs"), PermissionDenied),
    "Encrypt": (pipeds.EncryptRequest(piped_id="theirs", plaintext="x"), Refused),
}


async def test_what_is_another_projects_is_refused_with_pipecds_codes(
    plane: ControlPlane, client: Client
) -> None:
    store = plane.served.plane.store
    await store.create(Piped(id="theirs", name="t", project_id="other"))
    await store.create(Application(id="theirs", name="t", project_id="other", piped_id="theirs"))
    await store.create(Deployment(id="theirs", application_id="theirs", project_id="other"))
    await store.create(Command(id="theirs", project_id="other", type=Command.BUILD_PLAN_PREVIEW))
    for name, (request, error) in FOREIGN.items():
        with pytest.raises(PipecdError) as raised:
            await client.call(getattr(client.api, name), request)
        assert type(raised.value) is error, (name, raised.value)


async def test_what_does_not_exist_is_not_found(client: Client) -> None:
    for name, (request, _) in FOREIGN.items():
        with pytest.raises(NotFound):
            await client.call(getattr(client.api, name), request)


async def test_results_of_previews_come_late_broken_or_not_at_all(
    plane: ControlPlane, client: Client, piped_id: str
) -> None:
    store, now = plane.served.plane.store, plane.served.plane.now()

    async def command(id: str, **fields: Any) -> None:
        fields = {"type": Command.BUILD_PLAN_PREVIEW, "created_at": now, **fields}
        await store.create(Command(id=id, project_id=PROJECT, piped_id=piped_id, **fields))

    async def results(*ids: str) -> list[PlanPreviewCommandResult]:
        request = previews.GetPlanPreviewResultsRequest(commands=ids, command_handle_timeout=3600)
        return list((await client.call(client.api.GetPlanPreviewResults, request)).results)

    await command("waits")
    await command("late", created_at=now - 3601)
    await command("sync", type=Command.SYNC_APPLICATION)
    done = {"status": CommandStatus.COMMAND_SUCCEEDED, "handled_at": now}
    await command("good", **done)
    await command("broken", **done)
    await command("silent", **done)
    await command("old", status=CommandStatus.COMMAND_SUCCEEDED, handled_at=now - 25 * 3600)
    answer = PlanPreviewCommandResult(command_id="good", piped_id="forged")
    answer.results.add(application_id="a1", application_name="shop", no_change=True)
    await plane.served.plane.blobs.write_command_output("good", proto_json.dumps(answer).encode())
    await plane.served.plane.blobs.write_command_output("broken", b"{not json")

    (away,) = await results("waits")
    assert away.error == "piped home is not online"
    await store.put_fact("stat", piped_id, PROJECT, b"up 1\n")
    with pytest.raises(NotFound, match="not answered yet"):
        await results("waits")
    with pytest.raises(NotFound):
        await results("good", "waits")
    good, late, broken, silent = await results("good", "late", "broken", "silent")
    assert (good.piped_id, good.piped_name, good.error) == (piped_id, "home", "")
    assert good.piped_url == "http://console.example/settings/piped"
    assert good.results[0].application_url == "http://console.example/applications/a1"
    assert late.error == "piped home did not answer within 3600 s"
    assert "cannot be read" in broken.error
    assert silent.error == "the agent answered nothing"
    for id, sentence in (("sync", "asked for no plan preview"), ("old", "older than a day")):
        with pytest.raises(Conflict, match=sentence):
            await results(id)


async def test_a_preview_is_asked_of_agents_with_this_remote_and_branch(
    plane: ControlPlane, client: Client, piped_id: str
) -> None:
    request = previews.RequestPlanPreviewRequest(
        repo_remote_url=REMOTE, head_branch="b", head_commit="c", base_branch="main", timeout=30
    )
    (command_id,) = (await client.call(client.api.RequestPlanPreview, request)).commands
    got = await client.call(client.api.GetCommand, commands.GetCommandRequest(command_id=command_id))
    asked = got.command.build_plan_preview
    assert (got.command.piped_id, got.command.commander) == (piped_id, "pipectl")
    assert (asked.repository_id, asked.head_commit, asked.timeout) == ("demo", "c", 30)
    request.base_branch = "develop"
    assert not (await client.call(client.api.RequestPlanPreview, request)).commands
    request.base_branch = "main"
    await client.call(client.api.DisablePiped, pipeds.DisablePipedRequest(piped_id=piped_id))
    assert not (await client.call(client.api.RequestPlanPreview, request)).commands


async def test_deployments_are_found_by_all_that_is_asked(
    plane: ControlPlane, client: Client, piped_id: str
) -> None:
    rows = [
        ("d1", "a", "shop", DeploymentStatus.DEPLOYMENT_SUCCESS, {"env": "prod"}),
        ("d2", "b", "shop-two", DeploymentStatus.DEPLOYMENT_FAILURE, {"env": "prod"}),
        ("d3", "c", "shop", DeploymentStatus.DEPLOYMENT_RUNNING, {"env": "dev"}),
    ]
    for id, app, name, status, labels in rows:
        await plane.served.plane.store.create(
            Deployment(
                id=id,
                application_id=app,
                application_name=name,
                kind=ApplicationKind.TERRAFORM,
                piped_id=piped_id,
                project_id=PROJECT,
                status=status,
                labels=labels,
            )
        )

    async def found(**wanted: Any) -> set[str]:
        request = deployments.ListDeploymentsRequest(**wanted)
        return {one.id for one in (await client.call(client.api.ListDeployments, request)).deployments}

    assert await found() == {"d1", "d2", "d3"}
    assert await found(application_name="shop") == {"d1", "d3"}
    assert await found(labels={"env": "prod"}) == {"d1", "d2"}
    assert await found(statuses=["DEPLOYMENT_SUCCESS", "DEPLOYMENT_FAILURE"]) == {"d1", "d2"}
    assert await found(application_ids=["b", "c"]) == {"d2", "d3"}
    assert await found(application_ids=["b", "c"], application_name="shop") == {"d3"}
    assert await found(kinds=["ECS"]) == set()
