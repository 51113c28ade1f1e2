"""Application configuration files: what is accepted, and what the errors contain."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipecd.config import application
from pipecd.config.decode import LenientModel, StrictModel
from pipecd.config.values import Percentage, duration
from pipecd.errors import ConfigError
from pipecd.stages import OPTIONS


class Input(StrictModel):
    vars: tuple[str, ...] = ()
    auto_rollback: bool | None = None


class Spec(application.ApplicationSpec):
    input: Input = Input()


class Promote(LenientModel):
    percent: Percentage = 0


TYPES = application.ApplicationTypes(
    config_kind="TerraformApp", spec=Spec, plugin_fields="input", options={**OPTIONS, "PROMOTE": Promote}
)


def types(kind: str) -> application.ApplicationTypes:
    if kind != "TERRAFORM":
        raise ConfigError(f"this agent has no platform {kind}", remedy="install it")
    return TYPES


def load(text: str, *, deployed: bool = False) -> application.ApplicationConfig:
    return application.load(text, "app.pipecd.yaml", types, deployed=deployed)


def app(body: str, kind: str = "TerraformApp") -> str:
    lines = "\n".join("  " + line for line in body.strip("\n").split("\n"))
    return f"apiVersion: pipecd.dev/v1beta1\nkind: {kind}\nspec:\n{lines}\n"


def test_the_defaults_are_those_of_pipecd() -> None:
    spec = load(app("name: shop")).spec
    assert spec.timeout == timedelta(hours=6)
    assert spec.trigger.on_out_of_sync.disabled and spec.trigger.on_chain.disabled
    assert not spec.trigger.on_commit.disabled
    assert spec.trigger.on_out_of_sync.min_window == timedelta(minutes=5)
    assert spec.pipeline is None


def test_a_pipeline_gets_ids_decoded_options_and_timeouts() -> None:
    stages = load(
        app(
            """
pipeline:
  stages:
    - name: WAIT
      with: {duration: 1m30s, skipOn: {paths: [docs/**]}}
    - name: PROMOTE
      id: first
      timeout: 5m
      with: {percent: 20%}
    - name: SCRIPT_RUN
      with: {run: make, timeout: 10m, env: {N: 3}}
"""
        )
    ).spec.pipeline.stages
    assert [stage.id for stage in stages] == ["stage-0", "first", "stage-2"]
    assert stages[0].options.duration == timedelta(seconds=90)
    assert [pattern.text for pattern in stages[0].skip_on.paths] == ["docs/**"]
    assert stages[1].options.percent == 20 and stages[1].timeout == timedelta(minutes=5)
    assert stages[2].timeout == timedelta(minutes=10)
    assert stages[2].options.env == {"N": "3"}


def test_yes_on_and_no_are_strings_not_booleans() -> None:
    stages = load(app("pipeline: {stages: [{name: WAIT_APPROVAL, with: {approvers: [yes, on, no]}}]}"))
    assert stages.spec.pipeline.stages[0].options.approvers == ["yes", "on", "no"]


def test_keys_are_case_insensitive() -> None:
    assert load(app("Name: shop\nInput: {Vars: [a=b]}")).spec.input.vars == ("a=b",)


@pytest.mark.parametrize(
    "section",
    [
        pytest.param("vars: [a=b]", id="as the plugin reads it"),
        pytest.param("input: {vars: [a=b]}", id="as PipeCD's migration writes it"),
    ],
)
@pytest.mark.parametrize("others", ["", "  wait: {}\n  wait_approval:\n"])
def test_a_plugin_of_the_plugin_architecture_is_converted_to_its_kind(section: str, others: str) -> None:
    body = f"name: shop\nplugins:\n{others}  terraform:\n    {section}"
    config = load(app(body, kind="Application"))
    assert config.kind == "TERRAFORM"
    assert config.spec.input.vars == ("a=b",)


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("name: x", "Terraform", "app.pipecd.yaml:2: kind: Terraform is not an application; write the"),
        ("name: x", "TerraFormApp", "kind: TerraFormApp is not spelled correctly; write kind: TerraformApp"),
        ("name: x", "FilesApp", "app.pipecd.yaml:2: kind: this agent has no platform FILES; install it"),
        (
            "plugins:\n  files: {}",
            "Application",
            "app.pipecd.yaml:5: spec.plugins.files: this agent has no platform FILES; install it",
        ),
        ("plugins:\n  wait: {}", "Application", "app.pipecd.yaml:4: spec.plugins: no platform is specified"),
        (
            "plugins:\n  files: {}\n  terraform: {}",
            "Application",
            "app.pipecd.yaml:4: spec.plugins: several platforms: files, terraform",
        ),
        ("plugins:\n  terraform: 3", "Application", "app.pipecd.yaml:5: spec.plugins.terraform: is not a"),
        (
            "plugins:\n  terraform:\n    vars: [a]\n    vras: [b]",
            "Application",
            "app.pipecd.yaml:7: spec.input.vras: unknown key 'vras'; did you mean vars?",
        ),
        (
            "plugins:\n  terraform:\n    input:\n      vras: [b]",
            "Application",
            "app.pipecd.yaml:7: spec.input.vras: unknown key 'vras'; did you mean vars?",
        ),
    ],
)
def test_a_file_without_a_usable_kind_is_refused(body: str, kind: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(app(body, kind))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("nme: x", "app.pipecd.yaml:4: spec.nme: unknown key 'nme'; did you mean name?"),
        ("labels: 3", "app.pipecd.yaml:4: spec.labels: is not a mapping; write key: value pairs below it"),
        ("name: x\nname: y", "app.pipecd.yaml:5: spec.name: duplicate key, first defined in line 4"),
        ("timeout: soon", "app.pipecd.yaml:4: spec.timeout: 'soon' is not a duration: write it like 30s"),
        ("timeout: -5m", "app.pipecd.yaml:4: spec.timeout: must not be negative"),
        ("planner: {autoRollback: maybe}", "spec.planner.autoRollback: is not true or false"),
        ("commitMatcher: {pipeline: '('}", "spec.commitMatcher.pipeline: '(' is not a regular expression"),
        ("encryption: {}", "spec.encryption.decryptionTargets: is missing"),
        (
            "attachment: {targets: [../../etc/passwd]}",
            "spec.attachment.targets[0]: '../../etc/passwd' leaves the application's directory",
        ),
        (
            "pipeline: {stages: [{name: PROMOT}]}",
            ":4: spec.pipeline.stages[0].name: this agent has no stage PROMOT for TerraformApp;"
            " valid stages: ANALYSIS, CUSTOM_SYNC, PROMOTE, SCRIPT_RUN, WAIT, WAIT_APPROVAL",
        ),
        (
            "pipeline: {stages: [{name: ROLLBACK}]}",
            "spec.pipeline.stages[0].name: ROLLBACK is added by the planner",
        ),
        (
            "pipeline:\n  stages:\n    - name: PROMOTE\n      with:\n        percent: 120",
            "app.pipecd.yaml:8: spec.pipeline.stages[0].with.percent: 120 is not a percentage (0–100)",
        ),
        ("pipeline: {stages: [{name: SCRIPT_RUN}]}", "spec.pipeline.stages[0].with.run: is missing"),
        (
            "pipeline: {stages: [{name: WAIT, id: a}, {name: WAIT, id: a}]}",
            "spec.pipeline.stages[1].id: two stages have the id 'a'",
        ),
        (
            "pipeline: {stages: [{name: SCRIPT_RUN, with: {run: x, env: {A=B: x}}}]}",
            "spec.pipeline.stages[0].with.env: 'A=B' is not the name of an environment variable",
        ),
        (
            'pipeline:\n  stages:\n    - name: SCRIPT_RUN\n      with:\n        run: "a\\0b"',
            "app.pipecd.yaml:8: spec.pipeline.stages[0].with.run: the value contains a null byte; remove it",
        ),
        ('labels: {"a\\x00": b}', "app.pipecd.yaml:4: spec.labels: a key contains a null byte; remove it"),
        ("a: [", "app.pipecd.yaml:5: YAML syntax: "),
        ("plugins: &a [*a]", "an alias refers to itself"),
    ],
)
def test_an_error_names_file_line_key_and_remedy(body: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(app(body))
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", ["CloudRunApp", "CLOUDRUN"])
def test_a_chain_names_a_kind_as_files_or_as_pipecd_do(kind: str) -> None:
    spec = load(app(f"postSync: {{chain: {{applications: [{{kind: {kind}}}]}}}}")).spec
    assert spec.post_sync.chain.applications[0].kind == "CLOUDRUN"


def test_misspelled_keys_of_a_stage_are_found() -> None:
    """They are no errors, as in PipeCD; the log of the stage names them."""
    stages = """
pipeline:
  stages:
    - name: PROMOTE
      timeuot: 5m
      with: {percnt: 10}
    - name: SCRIPT_RUN
      with: {run: make, skipOn: {paths: [docs/**]}}
"""
    config = load(app(stages))
    assert {*config.ignored_keys} == {0}
    assert {(place.key, place.line, reason) for place, reason in config.ignored_keys[0]} == {
        ("spec.pipeline.stages[0].timeuot", 7, "unknown key; did you mean timeout?"),
        ("spec.pipeline.stages[0].with.percnt", 8, "unknown key; did you mean percent?"),
    }


def test_a_stage_of_a_deployed_file_may_be_unknown() -> None:
    """Another version of the agent deployed it; a rollback needs its other fields."""
    body = "name: shop\npipeline: {stages: [{name: VERIFY, with: {duration: 5m}}, {name: WAIT}]}"
    with pytest.raises(ConfigError, match="this agent has no stage VERIFY"):
        load(app(body))
    verify, wait = load(app(body), deployed=True).spec.pipeline.stages
    assert (verify.id, verify.name, verify.options) == ("stage-0", "VERIFY", None)
    assert wait.options == OPTIONS["WAIT"]()
    with pytest.raises(ConfigError, match=r"app\.pipecd\.yaml:4: spec\.nme: unknown key"):
        load(app("nme: x"), deployed=True)


def test_an_error_contains_all_mistakes_of_a_file() -> None:
    with pytest.raises(ConfigError) as caught:
        load(app("nme: x\ntimeout: soon"))
    assert "spec.nme" in str(caught.value) and "spec.timeout" in str(caught.value)


@given(st.text(max_size=300))
def test_any_text_is_decoded_or_raises_a_config_error(text: str) -> None:
    try:
        load(text)
    except ConfigError as error:
        assert str(error)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_value_of_a_key_is_decoded_or_raises_a_config_error(value: object) -> None:
    import json

    for key in ("name", "timeout", "pipeline", "trigger", "labels", "encryption"):
        try:
            load(app(f"{key}: {json.dumps(value)}"))
        except ConfigError as error:
            assert "app.pipecd.yaml" in str(error)


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 59))
def test_durations_are_read_in_gos_notation(hours: int, minutes: int, seconds: int) -> None:
    expected = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    assert duration(f"{hours}h{minutes}m{seconds}s") == expected
