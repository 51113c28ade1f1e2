"""The application configuration file (`app.pipecd.yaml`): the fields common to all kinds, and its decoding.

Called by the agent for each commit it checks. A platform adds its own fields with a subclass of
`ApplicationSpec`, and its stages with their option types; `PlatformTypes` supplies both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Protocol, Self

from pydantic import BaseModel, Field, model_validator

from pipecd.config.decode import StrictModel, decode
from pipecd.config.document import Document, parse
from pipecd.config.stages import GENERIC, PREDEFINED, SIX_HOURS, SkipOn
from pipecd.config.values import Duration, InsideApplication, PathGlob, Pattern, Text
from pipecd.errors import ConfigError

#: `kind` in a file → name of the platform (of the `ApplicationKind`).
KINDS: Mapping[str, str] = {
    "KubernetesApp": "KUBERNETES",
    "TerraformApp": "TERRAFORM",
    "ECSApp": "ECS",
    "LambdaApp": "LAMBDA",
    "CloudRunApp": "CLOUDRUN",
}
#: The kind of PipeCD's plugin architecture, and the plugins that correspond to a kind in `KINDS`.
GENERIC_KIND = "Application"
PLUGIN_KINDS: Mapping[str, str] = {
    "kubernetes": "KubernetesApp",
    "terraform": "TerraformApp",
    "ecs": "ECSApp",
    "lambda": "LambdaApp",
    "cloudrun": "CloudRunApp",
}


class Planner(StrictModel):
    always_use_pipeline: bool = False
    #: None if not specified; see `auto_rollback`.
    auto_rollback: bool | None = None


class CommitMatcher(StrictModel):
    quick_sync: Pattern = ""
    pipeline: Pattern = ""


class OnCommit(StrictModel):
    disabled: bool = False
    paths: Sequence[PathGlob] = ()
    ignores: Sequence[PathGlob] = ()


class OnCommand(StrictModel):
    disabled: bool = False


class OnOutOfSync(StrictModel):
    disabled: bool = True
    min_window: Duration = timedelta(minutes=5)


class OnChain(StrictModel):
    disabled: bool = True


class Triggers(StrictModel):
    on_commit: OnCommit = OnCommit()
    on_command: OnCommand = OnCommand()
    on_out_of_sync: OnOutOfSync = OnOutOfSync()
    on_chain: OnChain = OnChain()


class Encryption(StrictModel):
    encrypted_secrets: Mapping[str, str] = Field(default_factory=dict)
    decryption_targets: Sequence[InsideApplication] = Field(min_length=1)


class Attachment(StrictModel):
    sources: Mapping[str, InsideApplication] = Field(default_factory=dict)
    targets: Sequence[InsideApplication] = Field(min_length=1)


class ChainMatcher(StrictModel):
    name: str = ""
    kind: str = ""
    labels: Mapping[str, Text] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_criterion(self) -> Self:
        if not (self.name or self.kind or self.labels):
            raise ValueError("one of name, kind and labels must be given")
        return self


class Chain(StrictModel):
    applications: Sequence[ChainMatcher] = Field(min_length=1)


class PostSync(StrictModel):
    chain: Chain | None = None


class Mention(StrictModel):
    event: str = Field(min_length=1)
    slack: Sequence[str] = ()
    slack_users: Sequence[str] = ()
    slack_groups: Sequence[str] = ()
    email: Sequence[str] = ()


class Notification(StrictModel):
    mentions: Sequence[Mention] = ()


class Replacement(StrictModel):
    file: str = Field(min_length=1)
    yaml_field: str = ""
    json_field: str = ""
    hcl_field: str = Field("", alias="HCLField")
    regex: Pattern = ""

    @model_validator(mode="after")
    def _exactly_one_selector(self) -> Self:
        given = [name for name in (self.yaml_field, self.json_field, self.hcl_field, self.regex) if name]
        if len(given) != 1:
            raise ValueError("exactly one of yamlField, jsonField, HCLField and regex must be given")
        return self


class EventMatcher(StrictModel):
    name: str = Field(min_length=1)
    labels: Mapping[str, Text] = Field(default_factory=dict)


class EventHandlerConfig(StrictModel):
    commit_message: str = ""
    make_pull_request: bool = False
    replacements: Sequence[Replacement] = Field(min_length=1)


class EventHandler(StrictModel):
    type: Literal["GIT_UPDATE"] = "GIT_UPDATE"
    config: EventHandlerConfig


class EventWatch(StrictModel):
    matcher: EventMatcher
    handler: EventHandler


def _check_ignored_field(value: str) -> str:
    if value.count("#") != 1:
        raise ValueError(f"{value!r} must be apiVersion:kind:namespace:name#path.to.field")
    return value


class DriftDetection(StrictModel):
    ignore_fields: Sequence[str] = ()

    @model_validator(mode="after")
    def _valid_fields(self) -> Self:
        for value in self.ignore_fields:
            _check_ignored_field(value)
        return self


class StageConfig(StrictModel):
    """One stage of a pipeline, with defaults applied.

    `options` is the decoded `with`. With `timeout` None, the deployment's timeout applies.
    """

    id: str = ""
    name: str = Field(min_length=1)
    desc: str = ""
    timeout: Duration | None = None
    options: Any = Field(None, alias="with")
    skip_on: SkipOn = SkipOn()


class Pipeline(StrictModel):
    stages: Sequence[StageConfig] = ()


class ApplicationSpec(StrictModel):
    """The fields of `spec` common to all kinds. Platforms add their own fields in a subclass."""

    name: str = ""
    labels: Mapping[str, Text] = Field(default_factory=dict)
    description: str = ""
    planner: Planner = Planner()
    commit_matcher: CommitMatcher = CommitMatcher()
    trigger: Triggers = Triggers()
    pipeline: Pipeline | None = None
    timeout: Duration = SIX_HOURS
    encryption: Encryption | None = None
    attachment: Attachment | None = None
    post_sync: PostSync = PostSync()
    notification: Notification = Notification()
    event_watcher: Sequence[EventWatch] = ()
    drift_detection: DriftDetection = DriftDetection()
    plugins: Any = None


class PlatformTypes(Protocol):
    """What decoding needs from a platform: the type of `spec`, and the option types by stage name."""

    @property
    def spec(self) -> type[Any]: ...

    @property
    def options(self) -> Mapping[str, type[BaseModel]]: ...


@dataclass(frozen=True, kw_only=True)
class ApplicationConfig:
    """A decoded configuration file. `kind` is the platform's name, such as `TERRAFORM`."""

    kind: str
    file: str
    #: An instance of the platform's subclass of `ApplicationSpec`.
    spec: Any


def load(text: str, file: str, types: Callable[[str], PlatformTypes]) -> ApplicationConfig:
    """Decode the configuration file. `types` returns the platform of a given name. Raises ConfigError."""
    document = _convert_plugin_format(parse(text, file))
    kind = KINDS.get(document.kind)
    if kind is None:
        raise ConfigError(
            f"{document.kind} is not an application",
            remedy=f"kind is one of {', '.join([*KINDS, GENERIC_KIND])}",
            place=document.place(("kind",)),
        )
    platform = types(kind)
    spec = decode(platform.spec, document.spec, document, ("spec",))
    spec = spec.model_copy(update={"pipeline": _decode_pipeline(spec, document, platform)})
    return ApplicationConfig(kind=kind, file=file, spec=spec)


def auto_rollback(spec: ApplicationSpec, *, default: bool) -> bool:
    """`input.autoRollback` if specified, else `planner.autoRollback`, else the default of the kind."""
    configured = getattr(getattr(spec, "input", None), "auto_rollback", None)
    if configured is None:
        configured = spec.planner.auto_rollback
    return default if configured is None else bool(configured)


def _convert_plugin_format(document: Document) -> Document:
    """Convert `kind: Application` with one known plugin to the kind that corresponds to the plugin."""
    if document.kind != GENERIC_KIND:
        return document
    plugins = document.spec.get("plugins") or {}
    if not isinstance(plugins, Mapping):
        raise ConfigError("is not a mapping", place=document.place(("spec", "plugins")))
    known = [name for name in plugins if name in PLUGIN_KINDS]
    if len(known) != 1:
        what = f"several platforms: {', '.join(known)}" if known else "no platform is specified"
        raise ConfigError(
            what,
            remedy=f"specify exactly one of {', '.join(PLUGIN_KINDS)} under plugins",
            place=document.place(("spec", "plugins")),
        )
    merged = {key: value for key, value in document.spec.items() if key != "plugins"}
    for name in plugins:
        plugin_spec = plugins[name] or {}
        if name == "terraform" and isinstance(plugin_spec, Mapping):
            plugin_spec = {"input": plugin_spec} if "input" not in plugin_spec else plugin_spec
        merged |= plugin_spec if isinstance(plugin_spec, Mapping) else {}
    lines = {_merged_path(path): line for path, line in document.lines.items()}
    kind = PLUGIN_KINDS[known[0]]
    return Document(file=document.file, kind=kind, spec=merged, lines={**lines, **document.lines})


def _merged_path(path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The path of a plugin's key after the plugin's keys are merged into `spec`."""
    if len(path) <= 3 or path[:2] != ("spec", "plugins"):
        return path
    return ("spec", "input", *path[3:]) if path[2] == "terraform" else ("spec", *path[3:])


def _decode_pipeline(spec: ApplicationSpec, document: Document, platform: PlatformTypes) -> Pipeline | None:
    if spec.pipeline is None or not spec.pipeline.stages:
        return None
    option_types = {**GENERIC, **platform.options}
    stages: list[StageConfig] = []
    for index, raw in enumerate(spec.pipeline.stages):
        path = ("spec", "pipeline", "stages", index)
        stage = _decode_stage(raw, index, option_types, document, path)
        if any(other.id == stage.id for other in stages):
            raise ConfigError(f"two stages have the id {stage.id!r}", place=document.place((*path, "id")))
        stages.append(stage)
    return spec.pipeline.model_copy(update={"stages": tuple(stages)})


def _decode_stage(
    raw: StageConfig,
    index: int,
    option_types: Mapping[str, type[BaseModel]],
    document: Document,
    path: tuple[str | int, ...],
) -> StageConfig:
    options_type = option_types.get(raw.name)
    if options_type is None or raw.name in PREDEFINED:
        what = "is added by the planner" if raw.name in PREDEFINED else "is not a stage of this kind"
        raise ConfigError(
            f"{raw.name} {what}",
            remedy=f"valid stages: {', '.join(sorted(set(option_types) - PREDEFINED))}",
            place=document.place((*path, "name")),
        )
    options = decode(options_type, raw.options, document, (*path, "with"))
    values = {
        "id": raw.id or f"stage-{index}",
        "options": options,
        "timeout": raw.timeout or getattr(options, "timeout", None),
        # The plugin architecture places skipOn next to `with`, the other kinds inside it.
        "skip_on": raw.skip_on if raw.skip_on != SkipOn() else getattr(options, "skip_on", SkipOn()),
    }
    return raw.model_copy(update=values)
