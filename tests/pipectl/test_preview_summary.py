"""Plan preview results: the fields that PipeCD's GitHub action reads, and the text for people."""

from pipecd.pipectl.preview_summary import format_summary, summarize
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


def agent_result(
    piped: str, *results: ApplicationPlanPreviewResult, error: str = ""
) -> PlanPreviewCommandResult:
    return PlanPreviewCommandResult(
        command_id="c", piped_id=piped, piped_name=piped.title(), piped_url="u", results=results, error=error
    )


def test_the_summary_has_the_fields_of_the_github_action() -> None:
    plan = PluginPlanPreviewResult(plugin_name="terraform", deploy_target="prod", plan_summary=b"1 to add")
    summary = summarize(
        [
            agent_result(
                "p1",
                application("shop", labels={"env": "prod"}, plan_summary=b"1 to add", plan_details=b"+ x"),
                application("v1", plugin_names=["terraform", "wait"], plugin_plan_results=[plan, plan]),
                application("broken", error="no such file", plan_details=b"so far"),
            ),
            agent_result("p2", error="it did not respond"),
        ],
        [],
    )
    shop, v1 = summary["Applications"]
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
    (broken,) = summary["FailureApplications"]
    assert (broken["ApplicationName"], broken["Reason"]) == ("broken", "no such file")
    assert (broken["PlanDetails"], broken["PluginPlanResults"]) == ("so far", None)
    assert summary["FailurePipeds"] == [
        {"PipedID": "p2", "PipedName": "P2", "PipedURL": "u", "Reason": "it did not respond"}
    ]


def test_applications_are_sorted_by_agent_then_labels_then_name() -> None:
    results = [
        agent_result("p2", application("a")),
        agent_result(
            "p1",
            application("c", labels={"env": "dev"}),
            application("b", labels={"env": "prod"}),
            application("a", labels={"env": "prod"}),
        ),
    ]
    order = [
        (application["PipedID"], application["ApplicationName"])
        for application in summarize(results, ["env"])["Applications"]
    ]
    assert order == [("p1", "c"), ("p1", "a"), ("p1", "b"), ("p2", "a")]
    by_name = [application["ApplicationName"] for application in summarize(results, [])["Applications"]]
    assert by_name == ["a", "b", "c", "a"]


def test_the_text_lists_changed_unchanged_and_failed_applications() -> None:
    plan = PluginPlanPreviewResult(
        plugin_name="terraform", deploy_target="prod", plan_summary=b"2 to add", plan_details=b"+ y"
    )
    summary = summarize(
        [
            agent_result(
                "p1",
                application(
                    "shop", labels={"env": "prod"}, plan_summary=b"1 to add", plan_details=b"+ x\n+ z"
                ),
                application("v1", plugin_names=["terraform"], plugin_plan_results=[plan]),
                application("same", no_change=True),
                application("broken", error="no such file"),
            ),
            agent_result("p2", error="it did not respond"),
        ],
        [],
    )
    assert (
        "\n".join(format_summary(summary))
        == """\
2 application(s) would change:

1. app: shop, env: prod, kind: TERRAFORM
  console: http://c/applications/id-shop
  sync strategy: PIPELINE
  summary: 1 to add
  details:

    + x
    + z

2. app: v1, plugins: terraform
  console: http://c/applications/id-v1
  sync strategy: PIPELINE
  terraform (prod): 2 to add
  details:

    + y

1 application(s) would not change: same

FAILED app: broken, kind: TERRAFORM
  console: http://c/applications/id-broken
  reason: no such file

FAILED piped: P2: it did not respond"""
    )


def test_the_text_says_that_nothing_would_change() -> None:
    assert list(format_summary(summarize([agent_result("p1")], []))) == [
        "This pull request would change no applications."
    ]
