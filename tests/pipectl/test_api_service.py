"""APIService and ProgramService, called over gRPC with an API key: responses and status codes."""

from collections.abc import Mapping
from typing import Any

import pytest

from pipecd import __version__, proto_json
from pipecd.client import Client
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.kinds import STATISTICS
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
from pipecd.schema.pipecd.v1.program_pb2 import GetControlPlaneRequest, ListPipedsRequest
from tests.actors import TESTER
from tests.controlplane.server_fixture import PROJECT, Console, ControlPlane
from tests.pipectl.pipectl_process import REMOTE

GIT_PATH = ApplicationGitPath(repo=ApplicationGitRepository(id="demo"), path="apps/shop")


async def add_application(client: Client, piped_id: str, name: str = "shop", **more: Any) -> str:
    request = applications.AddApplicationRequest(
        name=name,
        piped_id=piped_id,
        git_path=GIT_PATH,
        kind=ApplicationKind.TERRAFORM,
        platform_provider="terraform",
        **more,
    )
    return (await client.call(client.api.AddApplication, request)).application_id


async def get_application(client: Client, app_id: str) -> Application:
    request = applications.GetApplicationRequest(application_id=app_id)
    return (await client.call(client.api.GetApplication, request)).application


async def test_a_repository_the_agent_did_not_report_is_not_found(client: Client, piped_id: str) -> None:
    request = applications.AddApplicationRequest(
        name="shop",
        piped_id=piped_id,
        git_path=ApplicationGitPath(repo=ApplicationGitRepository(id="elsewhere"), path="apps"),
        kind=ApplicationKind.TERRAFORM,
    )
    with pytest.raises(NotFound, match="no repository elsewhere; it reported demo"):
        await client.call(client.api.AddApplication, request)


async def test_an_application_gets_its_remote_from_the_agent(client: Client, piped_id: str) -> None:
    application = await get_application(
        client, await add_application(client, piped_id, labels={"env": "prod"})
    )
    assert (application.git_path.repo.remote, application.git_path.repo.branch) == (REMOTE, "main")
    assert application.git_path.config_filename == "app.pipecd.yaml"
    assert (application.platform_provider, application.cloud_provider) == ("terraform", "terraform")


async def test_a_deleted_application_is_listed_with_the_disabled_and_cannot_be_changed(
    client: Client, piped_id: str
) -> None:
    app_id = await add_application(client, piped_id)
    request = applications.DeleteApplicationRequest(application_id=app_id)
    await client.call(client.api.DeleteApplication, request)
    listed = await client.call(
        client.api.ListApplications, applications.ListApplicationsRequest(disabled=True)
    )
    assert [(application.id, application.deleted) for application in listed.applications] == [(app_id, True)]
    with pytest.raises(Refused, match="was deleted"):
        await client.call(
            client.api.DisableApplication, applications.DisableApplicationRequest(application_id=app_id)
        )
    with pytest.raises(Conflict, match="is deleted"):
        await client.call(
            client.api.SyncApplication, applications.SyncApplicationRequest(application_id=app_id)
        )


async def test_a_command_says_which_key_requested_it(client: Client, piped_id: str) -> None:
    app_id = await add_application(client, piped_id)
    sync = applications.SyncApplicationRequest(application_id=app_id)
    response = await client.call(client.api.SyncApplication, sync)
    request = commands.GetCommandRequest(command_id=response.command_id)
    command = (await client.call(client.api.GetCommand, request)).command
    assert command.commander == "API key ci"


async def test_deleting_a_deleted_application_changes_nothing(
    plane: ControlPlane, client: Client, piped_id: str
) -> None:
    app_id = await add_application(client, piped_id)
    request = applications.DeleteApplicationRequest(application_id=app_id)
    await client.call(client.api.DeleteApplication, request)
    deleted = await get_application(client, app_id)
    await client.call(client.api.DeleteApplication, request)
    await plane.console.call("DeleteApplication", application_id=app_id)
    assert await get_application(client, app_id) == deleted
    with pytest.raises(NotFound):
        await client.call(
            client.api.DeleteApplication, applications.DeleteApplicationRequest(application_id="missing")
        )


async def test_applications_of_several_kinds_are_listed(client: Client, piped_id: str) -> None:
    await add_application(client, piped_id)
    for kind, count in (("TERRAFORM,ECS", 1), ("ECS,LAMBDA", 0), ("TERRAFORM", 1), (",", 1)):
        request = applications.ListApplicationsRequest(kind=kind, limit=10)
        assert len((await client.call(client.api.ListApplications, request)).applications) == count, kind
    with pytest.raises(Refused, match="CASTLE is not a valid application kind"):
        await client.call(
            client.api.ListApplications, applications.ListApplicationsRequest(kind="ECS,CASTLE", limit=1)
        )


async def test_the_control_plane_tells_its_version_and_its_consoles_address(client: Client) -> None:
    response = await client.call(client.program.GetControlPlane, GetControlPlaneRequest())
    assert (response.version, response.console_url) == (__version__, "http://console.example")


async def test_pages_contain_only_matches_and_have_no_gaps(client: Client, piped_id: str) -> None:
    """Applications with another label lie between the matches and do not count towards the page size."""
    expected = []
    for number in range(5):
        expected.append(await add_application(client, piped_id, f"prod-{number}", labels={"env": "prod"}))
        await add_application(client, piped_id, f"dev-{number}", labels={"env": "dev"})
    listed, cursor = [], ""
    for size in (2, 2, 1):
        request = applications.ListApplicationsRequest(labels={"env": "prod"}, limit=2, cursor=cursor)
        page = await client.call(client.api.ListApplications, request)
        assert len(page.applications) == size
        listed += [application.id for application in page.applications]
        cursor = page.cursor
    assert (listed, cursor) == (expected[::-1], "")
    everything = await client.call(client.api.ListApplications, applications.ListApplicationsRequest())
    assert len(everything.applications) == 10 and everything.cursor == ""
    with pytest.raises(Refused, match="start at the first page"):
        await client.call(
            client.api.ListApplications, applications.ListApplicationsRequest(limit=2, cursor="nonsense")
        )


async def test_an_unknown_kind_or_status_is_rejected(client: Client) -> None:
    with pytest.raises(Refused, match="CASTLE is not a valid application kind"):
        await client.call(
            client.api.ListApplications, applications.ListApplicationsRequest(kind="CASTLE", limit=1)
        )
    with pytest.raises(Refused, match="GREAT is not a valid deployment status"):
        await client.call(client.api.ListDeployments, deployments.ListDeploymentsRequest(statuses=["GREAT"]))


async def test_moving_an_application_to_another_agent_clears_its_deploy_targets(
    plane: ControlPlane, client: Client, piped_id: str
) -> None:
    app_id = await add_application(client, piped_id)
    targets = applications.UpdateApplicationDeployTargetsRequest(
        application_id=app_id,
        deploy_targets_by_plugin={"terraform": DeployTargets(deploy_targets=["dev", "prod"])},
    )
    await client.call(client.api.UpdateApplicationDeployTargets, targets)
    targets_by_plugin = (await get_application(client, app_id)).deploy_targets_by_plugin
    assert list(targets_by_plugin["terraform"].deploy_targets) == ["dev", "prod"]
    other, _ = await plane.register_piped("other")
    update = applications.UpdateApplicationRequest(
        application_id=app_id,
        piped_id=other,
        platform_provider="tofu",
        git_path=ApplicationGitPath(
            repo=ApplicationGitRepository(id="demo"), path="elsewhere", config_filename="new.yaml"
        ),
    )
    await client.call(client.api.UpdateApplication, update)
    updated = await get_application(client, app_id)
    assert (updated.piped_id, updated.platform_provider, updated.name) == (other, "tofu", "shop")
    assert (updated.git_path.config_filename, updated.git_path.path) == ("new.yaml", "apps/shop")
    assert not updated.deploy_targets_by_plugin


async def test_config_files_are_renamed_together_or_not_at_all(
    plane: ControlPlane, client: Client, piped_id: str
) -> None:
    async def config_filename(app_id: str) -> str:
        return (await get_application(client, app_id)).git_path.config_filename

    own_ids = [await add_application(client, piped_id, name) for name in ("a", "b")]
    await plane.server.services.store.create(
        Application(id="foreign", name="t", project_id="other"), by=TESTER
    )
    request = applications.RenameApplicationConfigFileRequest(
        application_ids=[*own_ids, "foreign"], new_filename="x.yaml"
    )
    with pytest.raises(PermissionDenied, match="does not belong"):
        await client.call(client.api.RenameApplicationConfigFile, request)
    assert {await config_filename(app_id) for app_id in own_ids} == {"app.pipecd.yaml"}
    request.application_ids.remove("foreign")
    await client.call(client.api.RenameApplicationConfigFile, request)
    assert {await config_filename(app_id) for app_id in own_ids} == {"x.yaml"}


async def test_every_stage_has_logs_except_a_rollback_without_output(
    plane: ControlPlane, client: Client, piped_id: str
) -> None:
    stages = [
        PipelineStage(id="stage-0", name="WAIT"),
        PipelineStage(id="stage-1", name="SCRIPT_RUN", retried_count=1),
        PipelineStage(id="Rollback", name="ROLLBACK"),
    ]
    deployment = Deployment(id="d1", application_id="a", piped_id=piped_id, project_id=PROJECT, stages=stages)
    await plane.server.services.store.create(deployment, by=TESTER)
    append = plane.server.services.logs.append
    await append(deployment, "stage-1", 0, [LogBlock(index=1, log="the first try", created_at=1)])
    await append(deployment, "stage-1", 1, [LogBlock(index=2, log="the second try", created_at=1)])
    request = logs.ListStageLogsRequest(deployment_id="d1")
    stage_logs = (await client.call(client.api.ListStageLogs, request)).stage_logs
    texts = {stage: [block.log for block in stage_logs[stage].blocks] for stage in stage_logs}
    assert texts == {"stage-0": [], "stage-1": ["the second try"]}


async def test_an_event_with_a_commit_link_creates_a_trace(plane: ControlPlane, client: Client) -> None:
    request = events.RegisterEventRequest(
        name="image-update", data="v3", commit_hash="c0ffee", commit_url="https://git.example/c0ffee"
    )
    registered = await client.call(client.api.RegisterEvent, request)
    (trace,) = (await lists.traces(plane.server.services.store, PROJECT, "c0ffee", Paging())).records
    assert trace.commit_url == "https://git.example/c0ffee" and trace.commit_timestamp > 0
    event = (await plane.server.services.store.get(Event, registered.event_id)).message
    assert event.event_key.startswith("da3a1cc1") and event.trigger_commit_hash == "c0ffee"
    without_link = events.RegisterEventRequest(name="image-update", data="v4", commit_hash="beef")
    await client.call(client.api.RegisterEvent, without_link)
    traces = await lists.traces(plane.server.services.store, PROJECT, "beef", Paging())
    assert not traces.records, "an event without a commit link creates no trace"


async def test_agents_are_registered_renamed_and_shown_without_their_keys(
    plane: ControlPlane, client: Client
) -> None:
    other_console = Console(plane.url)
    await other_console.sign_in(project="other")
    await other_console.call("RegisterPiped", name="foreign")
    await other_console.http.aclose()
    registered = await client.call(
        client.api.RegisterPiped, pipeds.RegisterPipedRequest(name="home", desc="d")
    )
    change = pipeds.UpdatePipedRequest(piped_id=registered.id, name="attic", desc="up")
    await client.call(client.api.UpdatePiped, change)
    piped = (await client.call(client.api.GetPiped, pipeds.GetPipedRequest(piped_id=registered.id))).piped
    assert (piped.name, piped.desc, piped.keys[0].hash, piped.keys[0].creator) == (
        "attic",
        "up",
        "redacted",
        "ci",
    )
    listed = (await client.call(client.program.ListPipeds, ListPipedsRequest())).pipeds
    assert [(piped.name, piped.keys[0].hash) for piped in listed] == [("attic", "redacted")]
    assert registered.key not in str(listed)


#: Calls on records of another project, and the error that PipeCD's clients expect of each.
FOREIGN: Mapping[str, tuple[Any, type[PipecdError]]] = {
    "GetApplication": (applications.GetApplicationRequest(application_id="foreign"), Refused),
    "EnableApplication": (applications.EnableApplicationRequest(application_id="foreign"), Refused),
    "DisableApplication": (applications.DisableApplicationRequest(application_id="foreign"), Refused),
    "DeleteApplication": (applications.DeleteApplicationRequest(application_id="foreign"), Refused),
    "SyncApplication": (applications.SyncApplicationRequest(application_id="foreign"), Refused),
    "UpdateApplicationDeployTargets": (
        applications.UpdateApplicationDeployTargetsRequest(
            application_id="foreign", deploy_targets_by_plugin={"x": DeployTargets()}
        ),
        PermissionDenied,
    ),
    "GetDeployment": (deployments.GetDeploymentRequest(deployment_id="foreign"), Refused),
    "ListStageLogs": (logs.ListStageLogsRequest(deployment_id="foreign"), Refused),
    "GetCommand": (commands.GetCommandRequest(command_id="foreign"), Refused),
    "GetPlanPreviewResults": (
        previews.GetPlanPreviewResultsRequest(commands=["foreign"]),
        PermissionDenied,
    ),
    "GetPiped": (pipeds.GetPipedRequest(piped_id="foreign"), Refused),
    "UpdatePiped": (pipeds.UpdatePipedRequest(piped_id="foreign", name="n"), PermissionDenied),
    "EnablePiped": (pipeds.EnablePipedRequest(piped_id="foreign"), PermissionDenied),
    "DisablePiped": (pipeds.DisablePipedRequest(piped_id="foreign"), PermissionDenied),
    "Encrypt": (pipeds.EncryptRequest(piped_id="foreign", plaintext="x"), Refused),
}


async def test_records_of_another_project_are_rejected_with_pipecds_codes(
    plane: ControlPlane, client: Client
) -> None:
    store = plane.server.services.store
    await store.create(Piped(id="foreign", name="t", project_id="other"), by=TESTER)
    await store.create(Application(id="foreign", name="t", project_id="other", piped_id="foreign"), by=TESTER)
    await store.create(Deployment(id="foreign", application_id="foreign", project_id="other"), by=TESTER)
    await store.create(Command(id="foreign", project_id="other", type=Command.BUILD_PLAN_PREVIEW), by=TESTER)
    for name, (request, error) in FOREIGN.items():
        with pytest.raises(PipecdError) as raised:
            await client.call(getattr(client.api, name), request)
        assert type(raised.value) is error, (name, raised.value)


async def test_records_that_do_not_exist_are_not_found(client: Client) -> None:
    for name, (request, _) in FOREIGN.items():
        with pytest.raises(NotFound):
            await client.call(getattr(client.api, name), request)


async def test_preview_results_can_be_pending_late_invalid_or_missing(
    plane: ControlPlane, client: Client, piped_id: str
) -> None:
    store, now = plane.server.services.store, plane.server.services.now()

    async def command(id: str, **fields: Any) -> None:
        fields = {"type": Command.BUILD_PLAN_PREVIEW, "created_at": now, **fields}
        await store.create(Command(id=id, project_id=PROJECT, piped_id=piped_id, **fields), by=TESTER)

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
    preview = PlanPreviewCommandResult(command_id="good", piped_id="forged")
    preview.results.add(application_id="a1", application_name="shop", no_change=True)
    await plane.server.services.blobs.write_command_output("good", proto_json.dumps(preview).encode())
    await plane.server.services.blobs.write_command_output("broken", b"{not json")

    (offline,) = await results("waits")
    assert offline.error == "piped home is not online"
    await store.put_metadata(STATISTICS, piped_id, PROJECT, b"up 1\n", by=TESTER)
    with pytest.raises(NotFound, match="has not been handled yet"):
        await results("waits")
    with pytest.raises(NotFound):
        await results("good", "waits")
    good, late, broken, silent = await results("good", "late", "broken", "silent")
    assert (good.piped_id, good.piped_name, good.error) == (piped_id, "home", "")
    assert good.piped_url == "http://console.example/settings/piped"
    assert good.results[0].application_url == "http://console.example/applications/a1"
    assert late.error == "piped home did not respond within 3600 s"
    assert "cannot be parsed" in broken.error
    assert silent.error == "the piped reported no result"
    for id, message in (("sync", "is not a plan preview"), ("old", "older than a day")):
        with pytest.raises(Conflict, match=message):
            await results(id)


async def test_a_preview_is_requested_from_agents_with_the_remote_and_branch(
    plane: ControlPlane, client: Client, piped_id: str
) -> None:
    request = previews.RequestPlanPreviewRequest(
        repo_remote_url=REMOTE, head_branch="b", head_commit="c", base_branch="main", timeout=30
    )
    (command_id,) = (await client.call(client.api.RequestPlanPreview, request)).commands
    response = await client.call(client.api.GetCommand, commands.GetCommandRequest(command_id=command_id))
    preview = response.command.build_plan_preview
    assert (response.command.piped_id, response.command.commander) == (piped_id, "pipectl")
    assert (preview.repository_id, preview.head_commit, preview.timeout) == ("demo", "c", 30)
    request.base_branch = "develop"
    assert not (await client.call(client.api.RequestPlanPreview, request)).commands
    request.base_branch = "main"
    await client.call(client.api.DisablePiped, pipeds.DisablePipedRequest(piped_id=piped_id))
    assert not (await client.call(client.api.RequestPlanPreview, request)).commands


async def test_deployments_are_listed_by_all_filters_together(
    plane: ControlPlane, client: Client, piped_id: str
) -> None:
    rows = [
        ("d1", "a", "shop", DeploymentStatus.DEPLOYMENT_SUCCESS, {"env": "prod"}),
        ("d2", "b", "shop-two", DeploymentStatus.DEPLOYMENT_FAILURE, {"env": "prod"}),
        ("d3", "c", "shop", DeploymentStatus.DEPLOYMENT_RUNNING, {"env": "dev"}),
    ]
    for id, app, name, status, labels in rows:
        await plane.server.services.store.create(
            Deployment(
                id=id,
                application_id=app,
                application_name=name,
                kind=ApplicationKind.TERRAFORM,
                piped_id=piped_id,
                project_id=PROJECT,
                status=status,
                labels=labels,
            ),
            by=TESTER,
        )

    async def list_ids(**filters: Any) -> set[str]:
        request = deployments.ListDeploymentsRequest(**filters)
        return {
            deployment.id
            for deployment in (await client.call(client.api.ListDeployments, request)).deployments
        }

    assert await list_ids() == {"d1", "d2", "d3"}
    assert await list_ids(application_name="shop") == {"d1", "d3"}
    assert await list_ids(labels={"env": "prod"}) == {"d1", "d2"}
    assert await list_ids(statuses=["DEPLOYMENT_SUCCESS", "DEPLOYMENT_FAILURE"]) == {"d1", "d2"}
    assert await list_ids(application_ids=["b", "c"]) == {"d2", "d3"}
    assert await list_ids(application_ids=["b", "c"], application_name="shop") == {"d3"}
    assert await list_ids(kinds=["ECS"]) == set()
