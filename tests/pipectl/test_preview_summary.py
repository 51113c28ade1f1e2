"""What a plan preview says: the members that PipeCD's GitHub action reads, and the text for people."""

from pipecd.pipectl.preview_summary import lines, summarize
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.schema.model.plan_preview_pb2 import (
    ApplicationPlanPreviewResult,
    PlanPreviewCommandResult,
    PluginPlanPreviewResult,
)
from pipecd.schema.model.strategy_pb2 import SyncStrategy


def application(name: str, **more: object) -> ApplicationPlanPreviewResult:
    return ApplicationPlanPreviewResult(
        application_id=f"id-{name}",
        application_name=name,
        application_url=f"http://c/applications/id-{name}",
        application_kind=ApplicationKind.TERRAFORM,
        application_directory=f"apps/{name}",
        sync_strategy=SyncStrategy.PIPELINE,
        **more,  # type: ignore[arg-type]
    )


def answer(piped: str, *results: ApplicationPlanPreviewResult, error: str = "") -> PlanPreviewCommandResult:
    return PlanPreviewCommandResult(
        command_id="c", piped_id=piped, piped_name=piped.title(), piped_url="u", results=results, error=error
    )


def test_the_action_finds_its_members_in_each_of_the_three_lists() -> None:
    plan = PluginPlanPreviewResult(plugin_name="terraform", deploy_target="prod", plan_summary=b"1 to add")
    found = summarize(
        [
            answer(
                "p1",
                application("shop", labels={"env": "prod"}, plan_summary=b"1 to add", plan_details=b"+ x"),
                application("v1", plugin_names=["terraform", "wait"], plugin_plan_results=[plan, plan]),
                application("torn", error="no such file", plan_details=b"so far"),
            ),
            answer("p2", error="it did not answer"),
        ],
        [],
    )
    shop, v1 = found["Applications"]
    assert shop == {
        "ApplicationID": "id-shop",
        "ApplicationName": "shop",
        "ApplicationURL": "http://c/applications/id-shop",
        "ApplicationKind": "TERRAFORM",
        "ApplicationDirectory": "apps/shop",
        "Env": "prod",
        "PlannedPluginNames": "",
        "AllPluginNames": "",
        "SyncStrategy": "PIPELINE",
        "PlanSummary": "1 to add",
        "PlanDetails": "+ x",
        "NoChange": False,
        "PluginPlanResults": None,
        "PipedID": "p1",
        "PipedName": "P1",
        "PipedURL": "u",
    }
    assert (v1["PlannedPluginNames"], v1["AllPluginNames"]) == ("terraform", "terraform, wait")
    expected = {"plugin_name": "terraform", "deploy_target": "prod", "plan_summary": "MSB0byBhZGQ="}
    assert v1["PluginPlanResults"] == [expected, expected]
    (torn,) = found["FailureApplications"]
    assert (torn["ApplicationName"], torn["Reason"]) == ("torn", "no such file")
    assert (torn["PlanDetails"], torn["PluginPlanResults"]) == ("so far", None)
    assert found["FailurePipeds"] == [
        {"PipedID": "p2", "PipedName": "P2", "PipedURL": "u", "Reason": "it did not answer"}
    ]


def test_they_come_by_agent_then_by_the_labels_asked_for_then_by_name() -> None:
    answers = [
        answer("p2", application("a")),
        answer(
            "p1",
            application("c", labels={"env": "dev"}),
            application("b", labels={"env": "prod"}),
            application("a", labels={"env": "prod"}),
        ),
    ]
    order = [(one["PipedID"], one["ApplicationName"]) for one in summarize(answers, ["env"])["Applications"]]
    assert order == [("p1", "c"), ("p1", "a"), ("p1", "b"), ("p2", "a")]
    by_name = [one["ApplicationName"] for one in summarize(answers, [])["Applications"]]
    assert by_name == ["a", "b", "c", "a"]


def test_people_read_what_changes_what_does_not_and_what_could_not_be_told() -> None:
    plan = PluginPlanPreviewResult(
        plugin_name="terraform", deploy_target="prod", plan_summary=b"2 to add", plan_details=b"+ y"
    )
    found = summarize(
        [
            answer(
                "p1",
                application(
                    "shop", labels={"env": "prod"}, plan_summary=b"1 to add", plan_details=b"+ x\n+ z"
                ),
                application("v1", plugin_names=["terraform"], plugin_plan_results=[plan]),
                application("same", no_change=True),
                application("torn", error="no such file"),
            ),
            answer("p2", error="it did not answer"),
        ],
        [],
    )
    assert (
        "\n".join(lines(found))
        == """\
2 application(s) would change:

1. app: shop, env: prod, kind: TERRAFORM
  sync strategy: PIPELINE
  summary: 1 to add
  details:

    + x
    + z

2. app: v1, plugins: terraform
  sync strategy: PIPELINE
  terraform (prod): 2 to add
  details:

    + y

1 application(s) would not change: same

FAILED app: torn, kind: TERRAFORM
  reason: no such file

FAILED piped: P2: it did not answer"""
    )


def test_nothing_to_tell_is_told() -> None:
    assert list(lines(summarize([answer("p1")], []))) == [
        "There are no applications that this pull request would change."
    ]
