"""Forms of files that people, editors and generators write: spelling, nulls, zeros, documents, limits."""

import copy
import pickle
from datetime import timedelta
from typing import Any

import pytest

from pipecd.config import piped
from pipecd.config.application import load
from pipecd.config.document import MAX_SIZE, MAX_VALUES, read
from pipecd.config.sources.text import parse_secret
from pipecd.errors import ConfigError
from pipecd.platforms.registry import load_platform
from pipecd.platforms.stage_tables import application_types
from tests.loop_latency import loop_latency

HEAD = "apiVersion: pipecd.dev/v1beta1\nkind: TerraformApp\nspec:\n  name: shop\n"


def types(kind: str) -> Any:
    return application_types(load_platform(kind))


def spec(body: str) -> Any:
    text = HEAD + "\n".join(f"  {line}" for line in body.splitlines())
    return load(text, "app.pipecd.yaml", types).spec


AS_WRITTEN = ["1.10", "0.30", "12:30.5", "22:30", "0755", "0x1F", "12e5", "1.5e3", "007", "1_000", "+1"]
AS_WRITTEN += ["on", "off", "yes", "no", "True", "FALSE", "true", "2026-01-01", "012345678901", "-0.0", ".5"]


@pytest.mark.parametrize("text", AS_WRITTEN)
def test_a_value_that_looks_like_a_number_keeps_its_spelling(text: str) -> None:
    assert spec(f"labels: {{version: {text}}}").labels == {"version": text}
    stages = f"pipeline: {{stages: [{{name: SCRIPT_RUN, with: {{run: x, env: {{V: {text}}}}}}}]}}"
    assert spec(stages).pipeline.stages[0].options.env == {"V": text}


def test_a_version_keeps_its_spelling() -> None:
    assert spec("input: {terraformVersion: 1.10}").input.terraform_version == "1.10"


def test_a_number_where_a_string_is_needed_is_refused_or_kept() -> None:
    with pytest.raises(ConfigError, match="put it in quotes"):
        spec("description: 1.10")


def test_numbers_and_booleans_are_still_numbers_and_booleans() -> None:
    decoded = spec("planner: {alwaysUsePipeline: True}\ntrigger: {onCommit: {disabled: false}}")
    assert decoded.planner.always_use_pipeline is True
    assert decoded.trigger.on_commit.disabled is False
    stage = spec("pipeline: {stages: [{name: WAIT_APPROVAL, with: {minApproverNum: 2}}]}").pipeline.stages[0]
    assert stage.options.min_approver_num == 2


def test_spelled_values_can_be_copied() -> None:
    data, _ = read("a: 1.10\nb: +7\nc: TRUE\n", "f")
    for copied in (copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert copied == data and [str(value) for value in copied.values()] == ["1.10", "+7", "TRUE"]


def test_a_boolean_is_not_a_duration() -> None:
    for value in ("true", "TRUE", "False"):
        with pytest.raises(ConfigError, match="not a duration"):
            spec(f"timeout: {value}")


def test_a_long_text_of_digits_is_not_a_duration() -> None:
    with pytest.raises(ConfigError, match="no duration"):
        spec(f"timeout: '{'1' * 500_000}'")


def test_a_secret_with_a_trailing_separator_is_read() -> None:
    text = HEAD + "---\n# nothing\n"
    assert parse_secret(text.encode(), "secret").text == text


def test_the_masked_file_of_the_agent_keeps_its_spelling() -> None:
    text = "apiVersion: pipecd.dev/v1beta1\nkind: Piped\nspec: {appSelector: {v: 1.10, n: 2, b: TRUE}}\n"
    masked = piped.mask_secrets(piped.read_document(text, "piped.yaml"))
    assert "v: 1.10" in masked and "n: 2" in masked and "b: TRUE" in masked


@pytest.mark.parametrize(
    "body",
    [
        "labels:",
        "planner:",
        "trigger:\n  onCommit:\n    paths:",
        "trigger:",
        "pipeline:",
        "pipeline: {stages: }",
        "input:",
        "input: {vars: , commandFlags: }",
        "timeout:",
        "encryption:",
        "postSync:",
        "notification: {mentions: }",
        "driftDetection: {ignoreFields: }",
        "pipeline: {stages: [{name: WAIT, with: , timeout: }]}",
        "pipeline: {stages: [{name: SCRIPT_RUN, with: {run: x, env: , skipOn: }}]}",
    ],
)
def test_a_section_with_nothing_below_is_empty(body: str) -> None:
    decoded = spec(body)
    assert not decoded.labels and decoded.timeout == timedelta(hours=6)


def test_a_label_without_a_value_is_empty() -> None:
    assert spec("labels: {a: , b: ~}").labels == {"a": "", "b": ""}


def test_a_zero_means_the_default() -> None:
    assert spec("timeout: 0s").timeout == timedelta(hours=6)
    assert spec("timeout: 0").timeout == timedelta(hours=6)
    assert spec("trigger: {onOutOfSync: {minWindow: 0m}}").trigger.on_out_of_sync.min_window
    stages = "[{name: WAIT_APPROVAL, timeout: 0s, with: {timeout: 0s, minApproverNum: 0}}]"
    stage = spec(f"pipeline: {{stages: {stages}}}").pipeline.stages[0]
    assert stage.options.min_approver_num == 1
    assert stage.timeout == timedelta(hours=6)


def test_an_explicit_false_is_kept() -> None:
    assert not spec("trigger: {onOutOfSync: {disabled: false}}").trigger.on_out_of_sync.disabled


def agent(body: str) -> piped.PipedSpec:
    required = "projectID: p, pipedID: i, pipedKeyData: eA==, apiAddress: a:1"
    text = f"apiVersion: pipecd.dev/v1beta1\nkind: Piped\nspec: {{{required}, {body}}}\n"
    return piped.load(text, "piped.yaml")


def test_no_interval_of_the_agent_is_shorter_than_a_second() -> None:
    assert agent("syncInterval: 0s").sync_interval == timedelta(minutes=1)
    # A number without a unit is nanoseconds.
    assert agent("syncInterval: 30").sync_interval == timedelta(minutes=1)
    assert agent("syncInterval: 30000000").sync_interval == timedelta(seconds=1)
    assert agent("eventWatcher: {checkInterval: 1ms}").event_watcher.check_interval == timedelta(seconds=1)
    assert agent("planPreview: {workerNum: 0}").plan_preview.worker_num == 3


def test_sections_of_the_agents_file_may_be_empty() -> None:
    spec = agent("git: , repositories: , notifications: , planPreview: , appSelector: ")
    assert spec.git.username == "piped" and not spec.repositories


def test_a_trailing_separator_and_later_documents_are_ignored() -> None:
    for end in ("---\n", "---\n# nothing\n", "...\n", "---\nname: [unfinished\n"):
        assert load(HEAD + end, "app.pipecd.yaml", types).spec.name == "shop"


def test_keys_that_look_like_numbers_are_strings_as_written() -> None:
    assert spec("labels: {1: a, 2.50: b, true: c, on: d}").labels == {
        "1": "a",
        "2.50": "b",
        "true": "c",
        "on": "d",
    }


def test_unknown_keys_beside_the_name_of_a_stage_are_ignored() -> None:
    assert spec("pipeline: {stages: [{name: WAIT, when: later}]}").pipeline.stages[0].name == "WAIT"


def test_json_with_a_character_in_two_halves_is_read() -> None:
    text = (
        '{"apiVersion": "pipecd.dev/v1beta1", "kind": "TerraformApp",\n\t"spec": {"name": "\\ud83d\\ude80"}}'
    )
    assert load(text, "app.pipecd.yaml", types).spec.name == "🚀"


def test_marks_of_editors_are_ignored() -> None:
    text = "\ufeff---\n" + HEAD.replace("\n", "\r\n")
    assert load(text, "app.pipecd.yaml", types).spec.name == "shop"


def bomb(levels: int, width: int) -> str:
    lines = ["a0: &a0 [" + ",".join(["lol"] * width) + "]"]
    lines += [
        f"a{level}: &a{level} [" + ",".join([f"*a{level - 1}"] * width) + "]" for level in range(1, levels)
    ]
    return "\n".join(lines)


HOSTILE = {
    "aliases of aliases": (bomb(9, 9), "more than"),
    "one alias many times": ("a: &a [1, 2]\nb: [" + "*a, " * 40_000 + "]", "more than"),
    "merge keys": (
        "a0: &a0 {k: 1}\n" + "\n".join(f"a{n + 1}: &a{n + 1} {{<<: [*a{n}, *a{n}]}}" for n in range(60)),
        "more than",
    ),
    "deep lists": ("a: " + "[" * 5000 + "]" * 5000, "levels deep"),
    "deep mappings": ("a: " + "{a: " * 20_000 + "1" + "}" * 20_000, "levels deep"),
    "a chain of aliases": (
        "a0: &a0 [1]\n" + "\n".join(f"a{n + 1}: &a{n + 1} [*a{n}]" for n in range(200)),
        "levels deep",
    ),
    "question marks": ("a: " + "? " * 50_000, "YAML syntax|levels deep|key must be"),
    "many values": ("a: [" + "1," * (MAX_VALUES + 1) + "]", "more than"),
    "a large file": ("a: " + "x" * MAX_SIZE, "the limit is"),
    "a large number": ("a: " + "1" * 100_000, "cannot be read"),
    "an alias of itself": ("a: &a [*a]", "refers to itself"),
    "a type of Python": ("a: !!python/object/apply:os.system ['id']", "YAML syntax"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_file_is_refused_quickly(name: str) -> None:
    text, message = HOSTILE[name]
    async with loop_latency() as latency:
        with pytest.raises(ConfigError, match=message):
            read(text, "app.pipecd.yaml")
    latency.check()


def test_aliases_are_allowed() -> None:
    data, lines = read("a: &a {x: [1, 2]}\nb: {<<: *a, y: 3}\nc: *a\n", "f")
    assert data["b"] == {"x": [1, 2], "y": 3} and data["c"] == {"x": [1, 2]}
    assert lines[("b", "y")] == 2


def test_a_file_with_many_errors_names_the_first_ones() -> None:
    with pytest.raises(ConfigError) as error:
        spec("\n".join(f"key{number}: 1" for number in range(20_000)))
    assert len(str(error.value)) < 20_000 and str(error.value).endswith("\n19980 more")
