"""The application configuration file (`app.pipecd.yaml`): the fields common to all kinds, and its decoding.

Called by the agent for each commit it checks. A platform adds its own fields with a subclass of
`ApplicationSpec`, and its stages with their option types; `ApplicationTypes` supplies both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from pipecd.config.decode import StrictModel, decode
from pipecd.config.document import Document, parse
from pipecd.config.stages import SIX_HOURS, SkipOn
from pipecd.config.values import Duration, InsideApplication, PathGlob, Pattern, Text
from pipecd.errors import ConfigError
from pipecd.model.plan import ROLLBACK_NAMES

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
    """Always deploy with the pipeline; the commit message and the platform do not decide."""
    auto_rollback: bool | None = None
    """Roll back when a deployment fails. Default: true, but false for Terraform."""


class CommitMatcher(StrictModel):
    quick_sync: Pattern = ""
    """A commit whose message matches this regular expression is deployed with a quick sync."""
    pipeline: Pattern = ""
    """A commit whose message matches this regular expression is deployed with the pipeline. Checked before
    `quickSync`.
    """


class OnCommit(StrictModel):
    disabled: bool = False
    """Do not deploy when a commit changes the application."""
    paths: Sequence[PathGlob] = ()
    """Patterns of further paths that belong to the application, relative to the repository's root. The
    application's directory always belongs to it.
    """
    ignores: Sequence[PathGlob] = ()
    """Patterns of paths whose changes do not trigger a deployment."""


class OnCommand(StrictModel):
    disabled: bool = False
    """Refuse syncs that are requested in the console or with `pipectl`."""


class OnOutOfSync(StrictModel):
    disabled: bool = True
    """Do not deploy when the live state differs from Git."""
    min_window: Duration = timedelta(minutes=5)
    """Minimum time since the end of the last deployment."""


class OnChain(StrictModel):
    disabled: bool = True
    """Do not take part in deployment chains of other applications."""


class Triggers(StrictModel):
    on_commit: OnCommit = OnCommit()
    """Deployments of new commits."""
    on_command: OnCommand = OnCommand()
    """Deployments that a user requests."""
    on_out_of_sync: OnOutOfSync = OnOutOfSync()
    """Deployments that correct drift."""
    on_chain: OnChain = OnChain()
    """Deployments as part of a deployment chain."""


class Encryption(StrictModel):
    encrypted_secrets: Mapping[str, str] = Field(default_factory=dict)
    """Name of each secret and its encrypted value."""
    decryption_targets: Sequence[InsideApplication] = Field(min_length=1)
    """Files in which `{{ .encryptedSecrets.name }}` is replaced by the decrypted value."""


class Attachment(StrictModel):
    sources: Mapping[str, InsideApplication] = Field(default_factory=dict)
    """Name of each attachment and its file."""
    targets: Sequence[InsideApplication] = Field(min_length=1)
    """Files in which `{{ .attachment.name }}` is replaced by the content of the attached file."""


class ChainMatcher(StrictModel):
    name: str = ""
    """Only the application with this name."""
    kind: str = ""
    """Only applications of this kind, such as `ECSApp`."""
    labels: Mapping[str, Text] = Field(default_factory=dict)
    """Only applications with all of these labels."""

    @model_validator(mode="after")
    def _has_criterion(self) -> Self:
        if not (self.name or self.kind or self.labels):
            raise ValueError("one of name, kind and labels must be given")
        return self


class Chain(StrictModel):
    applications: Sequence[ChainMatcher] = Field(min_length=1)
    """The applications to deploy next, in this order. Each entry may match several."""


class PostSync(StrictModel):
    chain: Chain | None = None
    """Deploy other applications after this one."""


class Mention(StrictModel):
    event: str = Field(min_length=1)
    """Name of the event, such as `DEPLOYMENT_FAILED`; `*` means every event."""
    slack: Sequence[str] = ()
    """Former name of `slackUsers`; entries of both are used. Deprecated."""
    slack_users: Sequence[str] = ()
    """Member ids of the Slack users to mention."""
    slack_groups: Sequence[str] = ()
    """Ids of the Slack user groups to mention."""
    email: Sequence[str] = ()
    """Not used. Accepted for compatibility with PipeCD."""


class Notification(StrictModel):
    mentions: Sequence[Mention] = ()
    """Whom notifications about this application mention."""


class Replacement(StrictModel):
    file: str = Field(min_length=1)
    """Path of the file to change, relative to the application's directory."""
    yaml_field: str = ""
    """Path of the field to set in a YAML file, such as `$.spec.image`."""
    json_field: str = ""
    """Path of the field to set in a JSON file."""
    hcl_field: str = Field("", alias="HCLField")
    """Path of the attribute to set in an HCL file."""
    regex: Pattern = ""
    """Regular expression with one group; the text that the group matches is replaced."""

    @model_validator(mode="after")
    def _exactly_one_selector(self) -> Self:
        given = [name for name in (self.yaml_field, self.json_field, self.hcl_field, self.regex) if name]
        if len(given) != 1:
            raise ValueError("exactly one of yamlField, jsonField, HCLField and regex must be given")
        return self


class EventMatcher(StrictModel):
    name: str = Field(min_length=1)
    """Name of the event."""
    labels: Mapping[str, Text] = Field(default_factory=dict)
    """Labels that the event must have."""


class EventHandlerConfig(StrictModel):
    commit_message: str = ""
    """Message of the commit. Empty: a default message."""
    make_pull_request: bool = False
    """Push the commit to a new branch instead of the deployed one."""
    replacements: Sequence[Replacement] = Field(min_length=1)
    """Where the event's data is written."""


class EventHandler(StrictModel):
    type: Literal["GIT_UPDATE"] = "GIT_UPDATE"
    """What happens: the files in Git are updated."""
    config: EventHandlerConfig
    """How the files are updated."""


class EventWatch(StrictModel):
    matcher: EventMatcher
    """Which events are handled."""
    handler: EventHandler
    """What happens when such an event is registered."""


def _check_ignored_field(value: str) -> str:
    if value.count("#") != 1:
        raise ValueError(f"{value!r} must be apiVersion:kind:namespace:name#path.to.field")
    return value


class DriftDetection(StrictModel):
    ignore_fields: Sequence[str] = ()
    """Fields whose differences are not drift, as `apiVersion:kind:namespace:name#path.to.field`."""

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
    """Unique id of the stage in the pipeline. Default: `stage-` and its position."""
    name: str = Field(min_length=1)
    """Name of the stage, such as `WAIT_APPROVAL`."""
    desc: str = ""
    """Description, shown in the console."""
    timeout: Duration | None = None
    """Maximum duration of the stage. Default: `with.timeout`, otherwise the deployment's timeout."""
    options: Any = Field(None, alias="with")
    """Options of the stage; the keys depend on `name`."""
    skip_on: SkipOn = SkipOn()
    """When the stage is skipped."""


class Pipeline(StrictModel):
    stages: Sequence[StageConfig] = ()
    """The stages, executed in this order."""


class ApplicationSpec(StrictModel):
    """The fields of `spec` common to all kinds. Platforms add their own fields in a subclass."""

    name: str = ""
    """Name of the application; required to register it from Git."""
    labels: Mapping[str, Text] = Field(default_factory=dict)
    """Labels for selecting and searching applications."""
    description: str = ""
    """Description of the application, reported to the control plane."""
    planner: Planner = Planner()
    """How the planner chooses between quick sync and pipeline."""
    commit_matcher: CommitMatcher = CommitMatcher()
    """Commit messages that decide between quick sync and pipeline."""
    trigger: Triggers = Triggers()
    """What starts a deployment."""
    pipeline: Pipeline | None = None
    """The stages of a deployment. Without a pipeline, every deployment is a quick sync."""
    timeout: Duration = SIX_HOURS
    """Maximum duration of a deployment, without its rollback."""
    encryption: Encryption | None = None
    """Encrypted secrets and the files that contain them."""
    attachment: Attachment | None = None
    """Files whose content is inserted into other files."""
    post_sync: PostSync = PostSync()
    """What happens after a successful deployment."""
    notification: Notification = Notification()
    """Whom notifications about this application mention. Not implemented yet."""
    event_watcher: Sequence[EventWatch] = ()
    """Updates of files in Git when an event is registered. Not implemented yet."""
    drift_detection: DriftDetection = DriftDetection()
    """What is not considered drift."""
    plugins: Any = None
    """Settings of plugins, for `kind: Application` of PipeCD's plugin architecture; merged into `spec`."""


@dataclass(frozen=True, kw_only=True)
class ApplicationTypes:
    """The types of one kind of applications."""

    #: The platform's subclass of `ApplicationSpec`.
    spec: type[Any]
    #: Stage name → the type of its `with`, for every stage that a pipeline may contain.
    options: Mapping[str, type[BaseModel]]


@dataclass(frozen=True, kw_only=True)
class ApplicationConfig:
    """A decoded configuration file. `kind` is the platform's name, such as `TERRAFORM`."""

    kind: str
    file: str
    #: An instance of the platform's subclass of `ApplicationSpec`.
    spec: Any


def load(
    text: str, file: str, types: Callable[[str], ApplicationTypes], *, deployed: bool = False
) -> ApplicationConfig:
    """Decode the configuration file. `types` returns the types of the platform with a given name.

    Raises ConfigError. With `deployed`, a stage that is not in `types` is accepted, and its options are not
    decoded: another version of the agent deployed the file, and its pipeline is not executed again.
    """
    document = _convert_plugin_format(parse(text, file))
    kind = KINDS.get(document.kind)
    if kind is None:
        raise ConfigError(
            f"{document.kind} is not an application",
            remedy=f"kind is one of {', '.join([*KINDS, GENERIC_KIND])}",
            place=document.place(("kind",)),
        )
    application_types = types(kind)
    spec = decode(application_types.spec, document.spec, document, ("spec",))
    stages = _StageDecoder(document, application_types.options, accept_unknown=deployed)
    spec = spec.model_copy(update={"pipeline": stages.decode(spec.pipeline)})
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


class _StageDecoder:
    """Decodes the stages of a pipeline. `options` are the types of the stages that it may contain."""

    def __init__(
        self, document: Document, options: Mapping[str, type[BaseModel]], *, accept_unknown: bool
    ) -> None:
        self._document, self._options, self._accept_unknown = document, options, accept_unknown

    def decode(self, pipeline: Pipeline | None) -> Pipeline | None:
        if pipeline is None or not pipeline.stages:
            return None
        stages: list[StageConfig] = []
        for index, raw in enumerate(pipeline.stages):
            path = ("spec", "pipeline", "stages", index)
            stage = self._decode_stage(raw, index, path)
            if any(other.id == stage.id for other in stages):
                place = self._document.place((*path, "id"))
                raise ConfigError(f"two stages have the id {stage.id!r}", place=place)
            stages.append(stage)
        return pipeline.model_copy(update={"stages": tuple(stages)})

    def _decode_stage(self, raw: StageConfig, index: int, path: tuple[str | int, ...]) -> StageConfig:
        options_type = self._options.get(raw.name)
        if options_type is None:
            if not self._accept_unknown:
                raise self._unknown_stage(raw.name, path)
            return raw.model_copy(update={"id": raw.id or f"stage-{index}", "options": None})
        options = decode(options_type, raw.options, self._document, (*path, "with"))
        values = {
            "id": raw.id or f"stage-{index}",
            "options": options,
            "timeout": raw.timeout or getattr(options, "timeout", None),
            # The plugin architecture places skipOn next to `with`, the other kinds inside it.
            "skip_on": raw.skip_on if raw.skip_on != SkipOn() else getattr(options, "skip_on", SkipOn()),
        }
        return raw.model_copy(update=values)

    def _unknown_stage(self, name: str, path: tuple[str | int, ...]) -> ConfigError:
        kind = self._document.kind
        planned = name in ROLLBACK_NAMES
        what = f"{name} is added by the planner" if planned else f"this agent has no stage {name} for {kind}"
        return ConfigError(
            what,
            remedy=f"valid stages: {', '.join(sorted(self._options))}",
            place=self._document.place((*path, "name")),
        )
