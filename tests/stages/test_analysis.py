"""The ANALYSIS stage in virtual time, with a provider whose values the test writes."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.config.analysis import AnalysisOptions
from pipecd.config.decode import decode
from pipecd.errors import ConfigError, Temporary
from pipecd.model.analysis import HttpAnswer, Point
from pipecd.model.stage import CANDIDATE_URL, Again, Done, Failed, Outcome, Work
from pipecd.model.status import StageStatus
from pipecd.stages import check_pipeline
from pipecd.stages.analysis import STATE, analyse
from pipecd.telemetry import AGENT_METRICS
from tests.analysis.test_providers import providers
from tests.stages.stage_runner import StageRunner, document, open_runner, stage_action
from tests.world import app_file, pipeline

METRIC = {"provider": "p", "query": "errors", "interval": "1m", "expected": {"max": 2}}


@dataclass
class Provider:
    """Answers queries with the values of `answers`, by query; an error is raised."""

    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, float, float]] = field(default_factory=list)

    async def points(self, provider: str, query: str, start: float, end: float) -> Sequence[Point]:
        self.asked.append((query, start, end))
        answer = self.answers.get(query, [])
        if callable(answer):
            answer = answer(len(self.asked))
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
        return [Point(end, float(value)) for value in answer]

    async def log_lines(self, provider: str, query: str, start: float, end: float) -> Sequence[str]:
        return list(self.answers.get(query, []))

    def link(self, provider: str, query: str, start: float, end: float) -> str:
        return f"https://graphs.example/{provider}?q={query}&from={start:g}&to={end:g}"

    async def request(self, method: str, url: str, headers: Mapping[str, str]) -> HttpAnswer:
        status, body = self.answers[f"{method} {url}"]
        return HttpAnswer(status=status, body=body)


def options(**values: Any) -> AnalysisOptions:
    return decode(AnalysisOptions, {"duration": "5m", **values}, document(), ("spec", "with"))


def metric(**values: Any) -> dict[str, Any]:
    merged = {**METRIC, **values}
    return {key: value for key, value in merged.items() if value is not None}


async def outcome_of(
    folder: Path, provider: Provider, files: Mapping[str, str] | None = None, **values: Any
) -> tuple[Outcome, StageRunner]:
    all_files = {"app.pipecd.yaml": app_file(), **(files or {})}
    async with open_runner(folder, all_files) as runner:
        runner.analysis = provider
        return await runner.run("ANALYSIS", analyse, options(**values)), runner


#: Name of an entry with errors → the entry, and the line of the key and the error.
UNFIT = {
    "unknown": (
        {"metrics": [{**METRIC, "provider": "typo"}]},
        ".with.metrics[0].provider: this agent has no analysis provider typo; ",
    ),
    "metrics of logs": (
        {"metrics": [METRIC, {**METRIC, "provider": "loki"}]},
        ".with.metrics[1].provider: the analysis provider loki has logs, but no metrics; ",
    ),
    "logs of metrics": (
        {"logs": [{"provider": "p", "query": "q", "interval": "1m"}]},
        ".with.logs[0].provider: the analysis provider p has no logs; use a provider of type LOKI, ",
    ),
    "no template": (
        {"metrics": [{"template": {"name": "errors"}}]},
        "app.pipecd.yaml:8: spec.pipeline.stages[0].with: the analysis template has no entry errors; ",
    ),
}


@pytest.mark.parametrize(("entries", "error"), UNFIT.values(), ids=UNFIT)
async def test_what_the_agent_lacks_is_known_before_a_deployment(
    tmp_path: Path, entries: dict[str, Any], error: str
) -> None:
    connection = {"config": {"address": "http://127.0.0.1:1"}}
    found = providers(
        tmp_path,
        {"name": "p", "type": "PROMETHEUS", **connection},
        {"name": "loki", "type": "LOKI", **connection},
    )

    async def check(work: Work[AnalysisOptions]) -> Outcome:
        await check_pipeline(await work.checkouts.target(), found)
        return Done()

    async def outcome(folder: Path, **given: Any) -> Outcome:
        file = pipeline({"name": "ANALYSIS", "with": {"duration": "5m", **given}})
        async with open_runner(folder, {"app.pipecd.yaml": file}) as runner:
            return await runner.run("ANALYSIS", check, options())

    url = {"url": "http://127.0.0.1:1", "interval": "1m", "expectedCode": 200}
    assert await outcome(tmp_path / "fit", metrics=[METRIC], https=[url]) == Done()
    with pytest.raises(ConfigError) as raised:
        await outcome(tmp_path / "unfit", **entries)
    assert error in str(raised.value)


async def test_every_check_covers_its_interval_and_the_last_is_at_the_end(tmp_path: Path) -> None:
    provider = Provider({"errors": [1, 2]})
    async with open_runner(tmp_path, {"app.pipecd.yaml": app_file()}) as runner:
        runner.analysis, begin = provider, runner.now
        outcome = await runner.run("ANALYSIS", analyse, options(metrics=[metric()]))
    assert isinstance(outcome, Done) and outcome.note == "5 checks passed"
    assert [(start - begin, end - begin) for _, start, end in provider.asked] == [
        (minute * 60, minute * 60 + 60) for minute in range(5)
    ]


async def test_a_delay_comes_before_the_first_interval(tmp_path: Path) -> None:
    provider = Provider({"errors": [1, 2]})
    async with open_runner(tmp_path, {"app.pipecd.yaml": app_file()}) as runner:
        runner.analysis, begin = provider, runner.now
        outcome = await runner.run("ANALYSIS", analyse, options(metrics=[metric(initialDelay="2m30s")]))
    assert isinstance(outcome, Done) and outcome.note == "2 checks passed"
    assert [(start - begin, end - begin) for _, start, end in provider.asked] == [(150, 210), (210, 270)]


async def test_a_value_outside_fails_the_stage_at_once(tmp_path: Path) -> None:
    shown: list[float | None] = []

    def values(count: int) -> list[float]:
        shown.append(shown_value())
        return [1, 2.5] if count == 2 else [1]

    def shown_value() -> float | None:
        labels = {"application_name": "shop", "entry": "metrics-0"}
        return AGENT_METRICS.get_sample_value("pipecd_analysis_value", labels)

    provider = Provider({"errors": values})
    outcome, runner = await outcome_of(tmp_path, provider, metrics=[metric()])
    assert isinstance(outcome, Failed)
    # The series exists while the analysis runs.
    assert ([*shown], shown_value()) == ([None, 1.0], None)
    assert outcome.reason == "metrics-0: 2.5 is above 2"
    assert len(provider.asked) == 2
    stored = json.loads(outcome.saved[STATE])["entries"]["metrics-0"]
    assert (stored["passed"], stored["failed"], stored["query"]) == (1, 1, "errors")
    assert [check["verdict"] for check in stored["checks"]] == ["passed", "failed"]
    assert [(check["low"], check["middle"], check["high"]) for check in stored["checks"]] == [
        (1, 1, 1),
        (1, 1.75, 2.5),
    ]
    assert (stored["expected"], stored["allowed_failures"]) == ({"min": None, "max": 2}, 0)
    assert stored["link"].startswith("https://graphs.example/p?q=errors&from=")
    assert any("[metrics-0] failed: 2.5 is above 2" in line for line in runner.log.lines)


async def test_what_is_stored_is_valid_json_and_bounded(tmp_path: Path) -> None:
    """Browsers refuse Infinity; a stage with many entries keeps fewer checks of each."""
    provider = Provider({"errors": [1, float("inf")]})
    metrics = [metric(interval="1s", failureLimit=1000, template=None) for _ in range(50)]
    outcome, _ = await outcome_of(tmp_path, provider, metrics=metrics, duration="15s")
    text = outcome.saved[STATE]
    entries = json.loads(text, parse_constant=lambda name: pytest.fail(name))["entries"]
    assert {len(entry["checks"]) for entry in entries.values()} == {8}
    assert entries["metrics-49"]["failed"] == 15
    assert len(text) < 200_000


@pytest.mark.parametrize(("failing", "succeeds"), [(1, True), (2, False)])
async def test_failures_up_to_the_limit_are_tolerated(tmp_path: Path, failing: int, succeeds: bool) -> None:
    provider = Provider({"errors": lambda count: [9] if count <= failing else [1]})
    outcome, _ = await outcome_of(tmp_path, provider, metrics=[metric(failureLimit=1)])
    assert isinstance(outcome, Done) is succeeds
    if isinstance(outcome, Failed):
        assert outcome.reason == "metrics-0: 9 is above 2; 2 failed checks, 1 allowed"


async def test_no_data_is_no_success(tmp_path: Path) -> None:
    """Invariant 11, also where failures are tolerated."""
    outcome, _ = await outcome_of(tmp_path, Provider(), metrics=[metric()])
    assert isinstance(outcome, Failed) and outcome.reason == "metrics-0: the query returned no data"
    (tmp_path / "b").mkdir()
    outcome, _ = await outcome_of(tmp_path / "b", Provider(), metrics=[metric(failureLimit=100)])
    assert isinstance(outcome, Failed)
    assert outcome.reason == "metrics-0: no check was conclusive: metrics-0: the query returned no data"
    (tmp_path / "c").mkdir()
    outcome, _ = await outcome_of(tmp_path / "c", Provider(), metrics=[metric(skipOnNoData=True)])
    assert isinstance(outcome, Done)


async def test_an_outage_of_the_provider_is_tolerated_for_a_while(tmp_path: Path) -> None:
    away = Temporary("it is away")
    provider = Provider({"errors": lambda count: away if count < 5 else [1]})
    outcome, _ = await outcome_of(tmp_path, provider, metrics=[metric()])
    assert isinstance(outcome, Done)
    (tmp_path / "b").mkdir()
    outcome, _ = await outcome_of(tmp_path / "b", Provider({"errors": away}), metrics=[metric()])
    assert isinstance(outcome, Failed)
    assert outcome.reason == "metrics-0: it is away; 5 errors in a row, 4 allowed"
    (tmp_path / "c").mkdir()
    metrics = [metric(consecutiveErrorLimit=100)]
    outcome, _ = await outcome_of(tmp_path / "c", Provider({"errors": away}), metrics=metrics)
    assert isinstance(outcome, Failed)
    assert "no check was conclusive" in outcome.reason


async def test_a_provider_that_hangs_is_an_error_and_delays_no_other_entry(tmp_path: Path) -> None:
    provider = Provider({"errors": None, "good": [1]})
    metrics = [metric(timeout="10ms", consecutiveErrorLimit=0), metric(query="good")]
    outcome, _ = await outcome_of(tmp_path, provider, metrics=metrics)
    assert isinstance(outcome, Failed)
    assert outcome.reason.startswith("metrics-0: no answer within 0.01 s")


@pytest.mark.parametrize(
    ("deviation", "canary", "succeeds"),
    [
        ("EITHER", [1, 2, 3, 4, 5, 6], True),
        ("EITHER", [11, 12, 13, 14, 15, 16], False),
        ("HIGH", [-11, -12, -13, -14, -15, -16], True),
        ("LOW", [-11, -12, -13, -14, -15, -16], False),
    ],
)
async def test_a_canary_is_compared_with_the_primary(
    tmp_path: Path, deviation: str, canary: list[int], succeeds: bool
) -> None:
    provider = Provider({"e canary c prod": canary, "e primary p prod": [1, 2, 3, 4, 5, 7]})
    entry = metric(
        strategy="CANARY_PRIMARY",
        expected=None,
        query="e {{ .Variant.Name }} {{ .VariantCustomArgs.x }} {{ .AppArgs.env }}",
        canaryArgs={"x": "c"},
        primaryArgs={"x": "p"},
        deviation=deviation,
    )
    files = {"app.pipecd.yaml": app_file(appCustomArgs={"env": "prod"})}
    outcome, _ = await outcome_of(tmp_path, provider, files, metrics=[entry])
    assert isinstance(outcome, Done) is succeeds
    if isinstance(outcome, Failed):
        assert "from primary" in outcome.reason or "than primary" in outcome.reason


@pytest.mark.parametrize(("alpha", "succeeds"), [(0.05, False), (0.001, True)])
async def test_the_level_of_a_comparison_can_be_set(tmp_path: Path, alpha: float, succeeds: bool) -> None:
    provider = Provider({"e canary": [11, 12, 13, 14, 15, 16], "e primary": [1, 2, 3, 4, 5, 7]})
    entry = metric(strategy="CANARY_PRIMARY", expected=None, query="e {{ .Variant.Name }}", alpha=alpha)
    outcome, _ = await outcome_of(tmp_path, provider, metrics=[entry])
    assert isinstance(outcome, Done) is succeeds


async def test_too_few_values_to_compare_are_inconclusive(tmp_path: Path) -> None:
    provider = Provider({"e canary": [9], "e baseline": [1]})
    entry = metric(strategy="CANARY_BASELINE", expected=None, query="e {{ .Variant.Name }}")
    outcome, _ = await outcome_of(tmp_path, provider, metrics=[entry])
    assert isinstance(outcome, Failed)
    assert outcome.reason.startswith(
        "metrics-0: no check was conclusive: metrics-0: 1 and 1 values are too few"
    )


async def test_the_previous_analysis_is_compared_at_the_same_time_of_its_course(tmp_path: Path) -> None:
    entry = metric(strategy="PREVIOUS", expected=None)
    provider = Provider({"errors": [1, 2, 3, 4]})
    async with open_runner(tmp_path, {"app.pipecd.yaml": app_file()}) as runner:
        runner.analysis, begin = provider, runner.now
        assert isinstance(await runner.run("ANALYSIS", analyse, options(metrics=[entry])), Done)
        runner.now += 10_000
        second, later = runner.at(runner.clone.git("rev-parse", "HEAD"), deployment_id="d2"), runner.now
        provider.asked.clear()
        assert isinstance(await second.run("ANALYSIS", analyse, options(metrics=[entry])), Done)
    ends = sorted(end for _, _, end in provider.asked)
    assert [end - int(begin) for end in ends[:5]] == pytest.approx([60, 120, 180, 240, 300], abs=1.1)
    assert [end - later for end in ends[5:]] == pytest.approx([60, 120, 180, 240, 300])


async def test_a_restart_continues_with_the_same_counts_and_times(tmp_path: Path) -> None:
    provider = Provider({"errors": lambda count: [9] if count in (1, 3) else [1]})
    given = options(metrics=[metric(failureLimit=1)])
    async with open_runner(tmp_path, {"app.pipecd.yaml": app_file()}) as runner:
        runner.analysis, begin = provider, runner.now
        async with runner.calls("ANALYSIS", analyse, given) as call:
            for _ in range(3):
                outcome = await call()
                assert isinstance(outcome, Again)
                runner.now += outcome.after
        # The agent was away for 90 s: one check is left out.
        runner.now = begin + 120 + 90
        outcome = await runner.run("ANALYSIS", analyse, given)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "metrics-0: 9 is above 2; 2 failed checks, 1 allowed"
    assert [end - begin for _, _, end in provider.asked] == pytest.approx([60, 120, 210], abs=1)


async def test_the_only_check_is_made_late_after_a_restart(tmp_path: Path) -> None:
    provider = Provider({"errors": [1]})
    given = options(duration="1m", metrics=[metric()])
    async with open_runner(tmp_path, {"app.pipecd.yaml": app_file()}) as runner:
        runner.analysis = provider
        async with runner.calls("ANALYSIS", analyse, given) as call:
            assert isinstance(await call(), Again)
        runner.now += 3600
        outcome = await runner.run("ANALYSIS", analyse, given)
    assert isinstance(outcome, Done) and outcome.note == "1 checks passed"


async def test_it_can_be_skipped(tmp_path: Path) -> None:
    async with open_runner(tmp_path, {"app.pipecd.yaml": app_file()}) as runner:
        runner.analysis = Provider({"errors": [9]})
        runner.actions.append(stage_action("ada", approve=False))
        outcome = await runner.run("ANALYSIS", analyse, options(metrics=[metric()]))
    assert isinstance(outcome, Done)
    assert (outcome.status, outcome.saved) == (StageStatus.SKIPPED, {"SkippedBy": "ada"})


async def test_templates_logs_and_urls(tmp_path: Path) -> None:
    template = {
        "metrics": {"errors": {**METRIC, "query": "{{ .AppArgs.job }}", "failureLimit": 3}},
        "logs": {"panics": {"provider": "l", "query": "panic", "interval": "1m"}},
        "https": {
            "health": {"url": "http://shop/{{ .App.Name }}", "expectedCode": 200, "interval": "1m"},
        },
    }
    content = {"apiVersion": "pipecd.dev/v1beta1", "kind": "AnalysisTemplate", "spec": template}
    given: dict[str, Any] = {
        "metrics": [{"template": {"name": "errors", "appArgs": {"job": "web"}}, "expected": {"max": 5}}],
        "logs": [{"template": {"name": "panics"}}],
        "https": [{"template": {"name": "health"}, "expectedResponse": "re:^ok+$"}],
    }
    async with open_runner(tmp_path, {"app.pipecd.yaml": app_file()}) as runner:
        name = runner.deployment.application_name
        commit = runner.clone.commit_and_push("Template", {".pipe/analysis.yaml": yaml.safe_dump(content)})
        for answers, expected in (
            ({"web": [4], f"GET http://shop/{name}": (200, "okk")}, ""),
            (
                {"web": [4], "panic": ["panic: x"], f"GET http://shop/{name}": (200, "ok")},
                "log-0 (panics): 1 lines",
            ),
            (
                {"web": [4], f"GET http://shop/{name}": (500, "ok")},
                "http-0 (health): the status is 500, not 200",
            ),
            (
                {"web": [4], f"GET http://shop/{name}": (200, "no")},
                "http-0 (health): the answer does not contain",
            ),
        ):
            runner = runner.at(commit)
            runner.analysis = Provider(answers)
            outcome = await runner.run("ANALYSIS", analyse, options(**given))
            assert (outcome.reason if isinstance(outcome, Failed) else "").startswith(expected)
            assert isinstance(outcome, Failed) is bool(expected)
        runner = runner.at(commit)
        missing = options(metrics=[{"template": {"name": "other"}}])
        with pytest.raises(ConfigError, match=r"has no entry other; correct template.name; there are: err"):
            await runner.run("ANALYSIS", analyse, missing)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"duration": "0s"}, "duration must be given"),
        ({"metrics": [metric(interval="10m")]}, "an interval of 600 s is longer than the duration of 300 s"),
        ({"metrics": [metric(initialDelay="5m")]}, "an interval of 60 s after 300 s is longer"),
        ({"metrics": [metric(expected=None)]}, "expected must be given"),
        ({"metrics": [metric(expected={})]}, "one of min and max must be given"),
        ({"metrics": [metric(expected={"min": 3, "max": 1})]}, "min 3 is greater than max 1"),
        ({"metrics": [metric(provider=None, query=None)]}, "provider, query must be given"),
        ({"https": [{"url": "http://x", "interval": "1m"}]}, "expectedCode must be given"),
        (
            {
                "https": [
                    {"url": "http://x", "interval": "1m", "expectedCode": 200, "expectedResponse": "re:("}
                ]
            },
            "is not a regular expression",
        ),
    ],
)
def test_what_could_check_nothing_is_refused_when_the_file_is_read(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        options(**values)


async def test_a_new_version_is_checked_at_its_own_address(tmp_path: Path) -> None:
    """As Cloud Run publishes it before users get the version."""
    address = "https://pipecd-abc---shop.run.app"
    provider = Provider({f"GET {address}/health": (200, "ok"), "GET /health": (404, "")})
    check = {"url": "{{ .Candidate.URL }}/health", "expectedCode": 200, "interval": "1m"}
    async with open_runner(tmp_path, {"app.pipecd.yaml": app_file()}) as runner:
        runner.analysis = provider
        runner.deployment = replace(runner.deployment, shared={CANDIDATE_URL: address})
        outcome = await runner.run("ANALYSIS", analyse, options(https=[check]))
    assert isinstance(outcome, Done), outcome
