"""The application configuration file (`app.pipecd.yaml`): the fields common to all kinds, and its decoding.

Called by the agent for each commit it checks. A platform adds its own fields with a subclass of
`ApplicationSpec`, and its stages with their option types; `ApplicationTypes` supplies both.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, field_validator, model_validator

from pipecd.config.decode import LenientModel, StrictModel, decode, keys_without_effect, value_of
from pipecd.config.document import Document, parse
from pipecd.config.document import Path as KeyPath
from pipecd.config.event_watcher import EventWatch
from pipecd.config.stages import SIX_HOURS, SkipOn, is_stage_plugin
from pipecd.config.values import (
    MAX_PATH_PATTERNS,
    Duration,
    InsideApplication,
    PathGlob,
    Pattern,
    Shown,
    ShownText,
    Text,
)
from pipecd.errors import ConfigError, Place
from pipecd.model.application import is_kind, kind_of_plugin
from pipecd.model.notification import EVENT_TYPES
from pipecd.model.plan import ROLLBACK_NAMES

#: `kind` of PipeCD's plugin architecture: the platform is named under `plugins`.
GENERIC_KIND = "Application"
#: What the control plane stores of one application; the length is in characters.
MAX_LABELS, MAX_DESCRIPTION_LENGTH = 1000, 65536
#: Of all labels of an application together (characters): a report of applications has a limit.
MAX_LABELS_LENGTH = 256 * 1024


class Planner(StrictModel):
    always_use_pipeline: bool = False
    """Always deploy with the pipeline; the commit message and the platform do not decide."""
    auto_rollback: bool | None = None
    """Roll back when a deployment fails. Default: true, but false for Terraform."""


class CommitMatcher(StrictModel):
    quick_sync: Pattern = None
    """A commit whose message matches this regular expression is deployed with a quick sync."""
    pipeline: Pattern = None
    """A commit whose message matches this regular expression is deployed with the pipeline. Checked before
    `quickSync`.
    """


class OnCommit(StrictModel):
    disabled: bool = False
    """Do not deploy when a commit changes the application."""
    paths: Sequence[PathGlob] = Field(default=(), max_length=MAX_PATH_PATTERNS)
    """Patterns of further paths that belong to the application, relative to the repository's root. The
    application's directory always belongs to it.
    """
    ignores: Sequence[PathGlob] = Field(default=(), max_length=MAX_PATH_PATTERNS)
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
    """Only applications of this kind: `ECSApp`, as in their files, or `ECS`, as in PipeCD."""
    labels: Mapping[str, Text] = Field(default_factory=dict)
    """Only applications with all of these labels."""

    @field_validator("kind")
    @classmethod
    def _name_of_the_kind(cls, value: str) -> str:
        return value.removesuffix("App").upper() if value.endswith("App") else value

    @model_validator(mode="after")
    def _has_criterion(self) -> Self:
        if not (self.name or self.kind or self.labels):
            raise ValueError("one of name, kind and labels must be given")
        return self


class Chain(StrictModel):
    applications: Sequence[ChainMatcher] = Field(min_length=1)
    """The applications to deploy next, in this order. Each entry may match several."""
    on_failure: Literal["finish", "cancel"] = "finish"
    """What happens to the running deployments of a block when another one of the block does not succeed: they
    `finish`, or they are cancelled and rolled back (`cancel`). Later blocks do not begin. Not in PipeCD.
    """


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

    @field_validator("event")
    @classmethod
    def _known_event(cls, value: str) -> str:
        name = value.removeprefix("EVENT_")
        if name != "*" and name not in EVENT_TYPES:
            raise ValueError(f"there is no event {value!r}; write * or one of {', '.join(EVENT_TYPES)}")
        return name


class Notification(StrictModel):
    mentions: Sequence[Mention] = ()
    """Whom notifications about this application mention."""


def _check_ignored_field(value: str) -> str:
    _, separator, path = value.partition("#")
    if not separator or ("#" in path and not path.startswith("/")):
        raise ValueError(
            f"{value!r} must be apiVersion:kind:namespace:name#path.to.field,"
            " or have a JSON pointer such as /path/to/field after the #"
        )
    return value


class DriftDetection(StrictModel):
    ignore_fields: Sequence[str] = ()
    """Fields whose differences are not drift, as `apiVersion:kind:namespace:name#path.to.field`. A path that
    begins with `/` is a JSON pointer, for keys with dots. `*` in a path stands for every item of a list.
    """
    strict: bool = False
    """Fields that people added to Kubernetes objects beside those in Git are drift, and a sync removes them.
    Not in PipeCD.
    """

    @model_validator(mode="after")
    def _valid_fields(self) -> Self:
        for value in self.ignore_fields:
            _check_ignored_field(value)
        return self


class StageConfig(LenientModel):
    """One stage of a pipeline, with defaults applied. Unknown keys are ignored, as in PipeCD.

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
    options: Any = Field(default=None, alias="with")
    """Options of the stage; the keys depend on `name`."""
    skip_on: SkipOn = SkipOn()
    """When the stage is skipped."""


class Pipeline(StrictModel):
    stages: Sequence[StageConfig] = ()
    """The stages, executed in this order."""


def _bounded_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    length = sum(len(key) + len(value) for key, value in labels.items())
    if length > MAX_LABELS_LENGTH:
        raise ValueError(f"has {length} characters in all; the limit is {MAX_LABELS_LENGTH}")
    return labels


class ApplicationSpec(StrictModel):
    """The fields of `spec` common to all kinds. Platforms add their own fields in a subclass."""

    name: Shown = ""
    """Name of the application; required to register it from Git."""
    labels: Annotated[Mapping[Shown, ShownText], AfterValidator(_bounded_labels)] = Field(
        default_factory=dict, max_length=MAX_LABELS
    )
    """Labels for selecting and searching applications."""
    description: str = Field(default="", max_length=MAX_DESCRIPTION_LENGTH)
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
    """Whom notifications about this application mention."""
    event_watcher: Sequence[EventWatch] = ()
    """Updates of files in Git when an event is registered."""
    drift_detection: DriftDetection = DriftDetection()
    """What is not considered drift."""
    app_custom_args: Mapping[str, Text] = Field(default_factory=dict)
    """Values for `{{ .AppArgs.<name> }}` in queries of ANALYSIS stages, as in PipeCD's analysis plugin."""
    plugins: Any = None
    """Settings of plugins, for `kind: Application` of PipeCD's plugin architecture; merged into `spec`."""


@dataclass(frozen=True, kw_only=True)
class SpecError:
    """What is wrong with a value of `spec`. `path` leads to it from `spec`, in the file's spelling."""

    path: Sequence[str | int]
    what: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class ApplicationTypes:
    """The types of one kind of applications."""

    #: `kind` of its files: the name of the kind in any case, followed by `App`.
    config_kind: str
    #: The platform's subclass of `ApplicationSpec`.
    spec: type[Any]
    #: The key of `spec` that the fields below `plugins.<name>` belong to; empty for `spec` itself.
    plugin_fields: str = ""
    #: Stage name → the type of its `with`, for every stage that a pipeline may contain.
    options: Mapping[str, type[BaseModel]]
    #: What is wrong with a decoded `spec` as a whole.
    check: Callable[[Any], Iterable[SpecError]] = lambda spec: ()


@dataclass(frozen=True, kw_only=True)
class ApplicationConfig:
    """A decoded configuration file. `kind` is the name of the kind, such as `TERRAFORM`."""

    kind: str
    file: str
    #: An instance of the platform's subclass of `ApplicationSpec`.
    spec: Any
    #: The file's lines by path; empty if it was not read from a file.
    lines: Mapping[KeyPath, int] = field(default_factory=dict, repr=False, compare=False)
    #: Index of a stage in the pipeline → the place of each of its keys that has no effect, and why.
    ignored_keys: Mapping[int, Sequence[tuple[Place, str]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def place(self, *path: str | int) -> Place:
        """Where the key `path` is, or the nearest one above it, such as `("spec", "input", "namespace")`."""
        return Document(file=self.file, kind=self.kind, spec={}, lines=self.lines).place(path)


def load(
    text: str, file: str, types: Callable[[str], ApplicationTypes], *, deployed: bool = False
) -> ApplicationConfig:
    """Decode the configuration file. `types` returns the types of the file's kind.

    Raises ConfigError. With `deployed`, another version of the agent or another agent deployed the file, and
    its pipeline is not executed again: stages that are not in `types`, or whose options are invalid, are
    accepted without their options.
    """
    document = parse(text, file)
    if document.kind == GENERIC_KIND:
        plugin = _platform_plugin(document)
        kind = kind_of_plugin(plugin)
        application_types = _types(types, kind, document, ("spec", "plugins", plugin))
        document = _merge_plugins(document, plugin, application_types.plugin_fields)
    else:
        kind = _kind(document)
        application_types = _types(types, kind, document, ("kind",))
        if document.kind != application_types.config_kind:
            raise ConfigError(
                f"{document.kind} is not spelled correctly",
                remedy=f"write kind: {application_types.config_kind}",
                place=document.place(("kind",)),
            )
    spec = decode(application_types.spec, document.spec, document, ("spec",))
    stages = _StageDecoder(document, application_types.options, accept_invalid=deployed)
    spec = spec.model_copy(update={"pipeline": stages.decode(spec.pipeline)})
    for error in () if deployed else application_types.check(spec):
        raise ConfigError(error.what, remedy=error.remedy, place=document.place(("spec", *error.path)))
    return ApplicationConfig(
        kind=kind, file=file, spec=spec, lines=document.lines, ignored_keys=stages.ignored_keys(spec.pipeline)
    )


def auto_rollback(spec: ApplicationSpec, *, default: bool) -> bool:
    """`input.autoRollback` if specified, else `planner.autoRollback`, else the default of the kind."""
    configured = getattr(getattr(spec, "input", None), "auto_rollback", None)
    if configured is None:
        configured = spec.planner.auto_rollback
    return default if configured is None else bool(configured)


def _kind(document: Document) -> str:
    """`TerraformApp` → `TERRAFORM`."""
    name = document.kind.removesuffix("App")
    if name == document.kind or not is_kind(name.upper()):
        raise ConfigError(
            f"{document.kind} is not an application",
            remedy=f"write the platform's name followed by App, such as TerraformApp, or {GENERIC_KIND}",
            place=document.place(("kind",)),
        )
    return name.upper()


def _types(
    types: Callable[[str], ApplicationTypes], kind: str, document: Document, path: tuple[str | int, ...]
) -> ApplicationTypes:
    try:
        return types(kind)
    except ConfigError as error:
        raise ConfigError(error.what, remedy=error.remedy, place=document.place(path)) from None


def _platform_plugin(document: Document) -> str:
    """The name under `plugins` that is a platform's."""
    plugins = document.spec.get("plugins") or {}
    if not isinstance(plugins, Mapping):
        raise ConfigError("is not a mapping", place=document.place(("spec", "plugins")))
    platforms = [str(name) for name in plugins if not is_stage_plugin(str(name))]
    if len(platforms) != 1:
        what = f"several platforms: {', '.join(platforms)}" if platforms else "no platform is specified"
        raise ConfigError(
            what,
            remedy="specify exactly one platform under plugins, such as terraform",
            place=document.place(("spec", "plugins")),
        )
    return platforms[0]


def _merge_plugins(document: Document, plugin: str, nested: str) -> Document:
    """The document with the fields of its plugins where the classic format has them.

    The fields of `plugin` are keys of `spec.<nested>`, or of `spec` if `nested` is empty.
    """
    plugins: Mapping[str, Any] = document.spec["plugins"]
    merged = {key: value for key, value in document.spec.items() if key != "plugins"}
    for name, section in plugins.items():
        if not isinstance(section or {}, Mapping):
            raise ConfigError("is not a mapping", place=document.place(("spec", "plugins", name)))
        fields = section or {}
        if name == plugin and nested in fields:
            # PipeCD's migration writes the fields one level deeper than its plugin reads them.
            nested = ""
        merged |= {nested: fields} if name == plugin and nested else fields
    lines = {_merged_path(path, plugin, nested): line for path, line in document.lines.items()}
    return Document(file=document.file, kind=document.kind, spec=merged, lines={**lines, **document.lines})


def _merged_path(path: tuple[str | int, ...], plugin: str, nested: str) -> tuple[str | int, ...]:
    """The path of a plugin's key after the plugin's keys are merged into `spec`."""
    if len(path) <= 3 or path[:2] != ("spec", "plugins"):
        return path
    return ("spec", nested, *path[3:]) if nested and path[2] == plugin else ("spec", *path[3:])


class _StageDecoder:
    """Decodes the stages of a pipeline. `options` are the types of the stages that it may contain."""

    def __init__(
        self, document: Document, options: Mapping[str, type[BaseModel]], *, accept_invalid: bool
    ) -> None:
        self._document, self._options, self._accept_invalid = document, options, accept_invalid

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

    def ignored_keys(self, pipeline: Pipeline | None) -> Mapping[int, Sequence[tuple[Place, str]]]:
        """The keys of each stage of the decoded `pipeline` that have no effect, such as misspelled ones."""
        raw_stages = value_of(value_of(self._document.spec, "pipeline"), "stages") or ()
        found = {}
        for index, stage in enumerate(pipeline.stages if pipeline else ()):
            path = ("spec", "pipeline", "stages", index)
            keys = list(keys_without_effect(StageConfig, raw_stages[index], self._document, path))
            if options := self._options.get(stage.name):
                raw_options = value_of(raw_stages[index], "with")
                keys += keys_without_effect(options, raw_options, self._document, (*path, "with"))
            if keys:
                found[index] = keys
        return found

    def _decode_stage(self, raw: StageConfig, index: int, path: tuple[str | int, ...]) -> StageConfig:
        try:
            options = self._decode_options(raw, path)
        except ConfigError:
            if not self._accept_invalid:
                raise
            options = None
        values = {
            "id": raw.id or f"stage-{index}",
            "options": options,
            "timeout": raw.timeout or getattr(options, "timeout", None),
            # The plugin architecture places skipOn next to `with`, the other kinds inside it.
            "skip_on": raw.skip_on if raw.skip_on != SkipOn() else getattr(options, "skip_on", SkipOn()),
        }
        return raw.model_copy(update=values)

    def _decode_options(self, raw: StageConfig, path: tuple[str | int, ...]) -> Any:
        options_type = self._options.get(raw.name)
        if options_type is None:
            raise self._unknown_stage(raw.name, path)
        return decode(options_type, raw.options, self._document, (*path, "with"))

    def _unknown_stage(self, name: str, path: tuple[str | int, ...]) -> ConfigError:
        kind = self._document.kind
        planned = name in ROLLBACK_NAMES
        what = f"{name} is added by the planner" if planned else f"this agent has no stage {name} for {kind}"
        return ConfigError(
            what,
            remedy=f"valid stages: {', '.join(sorted(self._options))}",
            place=self._document.place((*path, "name")),
        )
