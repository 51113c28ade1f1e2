"""The reference pages match the code, and nothing in them lacks a description."""

import importlib
import pkgutil
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

import pipecd
from docsite import commands, configuration, log_events, metrics, reference, rpcs
from docsite.descriptions import field_docstrings
from docsite.keys import format_duration, keys, nested_keys
from docsite.markdown import slug, table
from pipecd.config.decode import LenientModel, StrictModel
from pipecd.config.values import Duration, PathGlob, Percentage

ROOT = Path(__file__).parents[2]


def test_generated_pages_match_the_code() -> None:
    current, wanted = reference.generated_files(ROOT), reference.pages()
    outdated = [name for name in current.keys() | wanted.keys() if current.get(name) != wanted.get(name)]
    assert sorted(outdated) == [], "run `make docs-reference` and commit docs/reference"


def configuration_models() -> set[type[BaseModel]]:
    """Every model of the package that is decoded from a file."""
    for module in pkgutil.walk_packages(pipecd.__path__, "pipecd."):
        if ".config" in module.name or ".platforms." in module.name or ".stages" in module.name:
            importlib.import_module(module.name)
    return {model for model in subclasses(StrictModel) if model.__module__.startswith("pipecd.")}


def subclasses(model: type[BaseModel]) -> set[type[BaseModel]]:
    return {cls for direct in model.__subclasses__() for cls in (direct, *subclasses(direct))}


def test_every_configuration_key_has_a_description() -> None:
    models = configuration_models() | configuration.documented_models()
    missing = [
        f"{model.__module__}.{model.__qualname__}.{name}"
        for model in models
        for name in model.model_fields
        if not field_docstrings(model).get(name)
    ]
    assert sorted(missing) == [], 'write a docstring below the field: """Meaning, unit, default."""'


def test_every_configuration_model_is_on_a_page() -> None:
    documented = configuration.documented_models()
    bases = {base for model in documented for base in model.__mro__}
    missing = {model for model in configuration_models() - documented if model.model_fields} - bases
    assert missing == set(), "add the model to docsite/configuration.py"


def test_every_command_and_option_has_a_help_text() -> None:
    for program, all_commands in commands.programs().items():
        assert all_commands, program
        for command in all_commands:
            assert command.command.help, command.name
            missing = [option.opts for option in command.options if not option.help]
            assert missing == [], command.name


def test_every_rpc_and_service_has_a_comment() -> None:
    methods = rpcs.own_methods()
    names = {*methods, *(method.service for method in methods.values())}
    assert sorted(name for name in names if not rpcs.comments().get(name)) == []


def test_every_metric_has_a_description() -> None:
    for registry in metrics.registries():
        described = list(metrics.collectors(registry))
        assert described
        for collector in described:
            assert len(collector._documentation) > 10, collector._name


class Inner(StrictModel):
    share: Percentage = 0
    """Share of
    the traffic.
    """


class Outer(LenientModel):
    wait: Duration = timedelta(minutes=90)
    """How long."""
    paths: Sequence[PathGlob] = ()
    mode: Literal["A", "B"]
    count: int = Field(3, ge=1, le=9)
    named: str = Field(min_length=1, alias="givenName")
    parts: Sequence[Inner] = Field(min_length=1)
    single: Inner | None = None
    anything: Mapping[str, Any] = Field(default_factory=dict)
    size: Annotated[int, Field(gt=0)] | None = None


class Derived(Outer):
    wait: Duration = timedelta()


@pytest.mark.parametrize(
    ("path", "kind", "default"),
    [
        ("wait", "duration", "`1h30m`"),
        ("paths", "list of path pattern", "empty"),
        ("mode", "`A` or `B`", "**required**"),
        ("count", "integer, at least 1, at most 9", "`3`"),
        ("givenName", "string", "**required**"),
        ("parts[]", "list of object, not empty", "**required**"),
        ("parts[].share", "percentage", "`0`"),
        ("single", "object", ""),
        ("single.share", "percentage", "`0`"),
        ("anything", "object", "empty"),
        ("size", "integer, greater than 0", ""),
    ],
)
def test_keys_are_described_by_type_and_default(path: str, kind: str, default: str) -> None:
    (key,) = (key for key in nested_keys(Outer) if key.path == path)
    assert (key.type_name, key.default) == (kind, default)


def test_descriptions_are_docstrings_of_fields() -> None:
    assert [key.meaning for key in keys(Outer)][:2] == ["How long.", ""]
    assert field_docstrings(Inner) == {"share": "Share of the traffic."}
    assert field_docstrings(Derived)["wait"] == "How long."


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(), "0s"),
        (timedelta(seconds=1.5), "1.5s"),
        (timedelta(minutes=5), "5m"),
        (timedelta(hours=6, seconds=2), "6h2s"),
    ],
)
def test_durations_are_written_as_in_files(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text


def test_cells_of_a_table_cannot_break_it() -> None:
    assert table(("a", "b"), [("x|y", "two\nlines")]) == "| a | b |\n|---|---|\n| x\\|y | two lines |"
    assert table(("a",), []) == ""


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Platform provider", "platform-provider"),
        ("`repositories[]`", "repositories"),
        ("`datastore.config` with type SQLITE", "datastoreconfig-with-type-sqlite"),
        ("[0.1.0] - 2026-11-27", "010---2026-11-27"),
    ],
)
def test_anchors_are_those_of_git_hosts(heading: str, anchor: str) -> None:
    assert slug(heading) == anchor


def test_every_log_event_has_a_meaning_and_a_name_to_search_for() -> None:
    events = log_events.events()
    missing, gone = events.keys() - log_events.MEANINGS.keys(), log_events.MEANINGS.keys() - events.keys()
    assert (missing, gone) == (set(), set()), "MEANINGS in docsite/log_events.py has one of each event"
    assert [name for name in events if not re.fullmatch(r"[a-z][a-z0-9_]*", name)] == []
    assert all(event.levels for event in events.values())
    assert events["rpc"].levels == {"debug", "info"} and "code" in events["rpc"].fields


def test_alerts_and_guides_name_log_events_that_exist() -> None:
    """Such as: read its log for `job_internal_error`."""
    files = [ROOT / "deploy/prometheus/alerts.yaml", *(ROOT / "docs/guide").glob("*.md")]
    text = "\n".join(file.read_text() for file in files)
    patterns = (r"log (?:for|event) `([a-z_]+)`", r"`([a-z]+_[a-z_]+)` in the log")
    named = {name for pattern in patterns for name in re.findall(pattern, text)}
    assert len(named) >= 3 and named <= log_events.events().keys()
