"""An application's file (`app.pipecd.yaml`): the fields that every kind has, and how the file is decoded.

Called by the agent for each commit it looks at. A platform adds its own fields by a subclass of
`ApplicationSpec`, and its stages by their options; both come in through `PlatformTypes`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Protocol, Self

from pydantic import BaseModel, Field, model_validator

from pipecd.config.decode import Part, decode
from pipecd.config.document import Document, parse
from pipecd.config.stages import GENERIC, PREDEFINED, SIX_HOURS, SkipOn
from pipecd.config.values import Duration, InsideApplication, PathGlob, Pattern, Text
from pipecd.errors import ConfigError

#: `kind` in a file → the name of the platform (an `ApplicationKind`'s).
KINDS: Mapping[str, str] = {
    "KubernetesApp": "KUBERNETES",
    "TerraformApp": "TERRAFORM",
    "ECSApp": "ECS",
    "LambdaApp": "LAMBDA",
    "CloudRunApp": "CLOUDRUN",
}
#: The plugin architecture's kind, and the plugins that stand for a kind of their own.
GENERIC_KIND = "Application"
PLUGIN_KINDS: Mapping[str, str] = {
    "kubernetes": "KubernetesApp",
    "terraform": "TerraformApp",
    "ecs": "ECSApp",
    "lambda": "LambdaApp",
    "cloudrun": "CloudRunApp",
}


class Planner(Part):
    always_use_pipeline: bool = False
    #: None: not said. `auto_rollback` settles it.
    auto_rollback: bool | None = None


class CommitMatcher(Part):
    quick_sync: Pattern = ""
    pipeline: Pattern = ""


class OnCommit(Part):
    disabled: bool = False
    paths: Sequence[PathGlob] = ()
    ignores: Sequence[PathGlob] = ()


class OnCommand(Part):
    disabled: bool = False


class OnOutOfSync(Part):
    disabled: bool = True
    min_window: Duration = timedelta(minutes=5)


class OnChain(Part):
    disabled: bool = True


class Triggers(Part):
    on_commit: OnCommit = OnCommit()
    on_command: OnCommand = OnCommand()
    on_out_of_sync: OnOutOfSync = OnOutOfSync()
    on_chain: OnChain = OnChain()


class Encryption(Part):
    encrypted_secrets: Mapping[str, str] = Field(default_factory=dict)
    decryption_targets: Sequence[InsideApplication] = Field(min_length=1)


class Attachment(Part):
    sources: Mapping[str, InsideApplication] = Field(default_factory=dict)
    targets: Sequence[InsideApplication] = Field(min_length=1)


class ChainMatcher(Part):
    name: str = ""
    kind: str = ""
    labels: Mapping[str, Text] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _matches_something(self) -> Self:
        if not (self.name or self.kind or self.labels):
            raise ValueError("one of name, kind and labels must be given")
        return self


class Chain(Part):
    applications: Sequence[ChainMatcher] = Field(min_length=1)


class PostSync(Part):
    chain: Chain | None = None


class Mention(Part):
    event: str = Field(min_length=1)
    slack: Sequence[str] = ()
    slack_users: Sequence[str] = ()
    slack_groups: Sequence[str] = ()
    email: Sequence[str] = ()


class Notification(Part):
    mentions: Sequence[Mention] = ()


class Replacement(Part):
    file: str = Field(min_length=1)
    yaml_field: str = ""
    json_field: str = ""
    hcl_field: str = Field("", alias="HCLField")
    regex: Pattern = ""

    @model_validator(mode="after")
    def _one_selector(self) -> Self:
        given = [name for name in (self.yaml_field, self.json_field, self.hcl_field, self.regex) if name]
        if len(given) != 1:
            raise ValueError("exactly one of yamlField, jsonField, HCLField and regex must be given")
        return self


class EventMatcher(Part):
    name: str = Field(min_length=1)
    labels: Mapping[str, Text] = Field(default_factory=dict)


class EventHandlerConfig(Part):
    commit_message: str = ""
    make_pull_request: bool = False
    replacements: Sequence[Replacement] = Field(min_length=1)


class EventHandler(Part):
    type: Literal["GIT_UPDATE"] = "GIT_UPDATE"
    config: EventHandlerConfig


class EventWatch(Part):
    matcher: EventMatcher
    handler: EventHandler


def _ignored_field(value: str) -> str:
    if value.count("#") != 1:
        raise ValueError(f"{value!r} must be apiVersion:kind:namespace:name#path.to.field")
    return value


class DriftDetection(Part):
    ignore_fields: Sequence[str] = ()

    @model_validator(mode="after")
    def _well_formed(self) -> Self:
        for value in self.ignore_fields:
            _ignored_field(value)
        return self


class StageConfig(Part):
    """One stage of a pipeline, with all that is not written filled in.

    `options` is the decoded `with`. `timeout` None leaves it to the deployment's.
    """

    id: str = ""
    name: str = Field(min_length=1)
    desc: str = ""
    timeout: Duration | None = None
    options: Any = Field(None, alias="with")
    skip_on: SkipOn = SkipOn()


class Pipeline(Part):
    stages: Sequence[StageConfig] = ()


class ApplicationSpec(Part):
    """`spec` of every kind of application. Platforms add theirs in a subclass."""

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
    """The part of a platform that decoding needs."""

    @property
    def spec(self) -> type[Any]: ...

    @property
    def options(self) -> Mapping[str, type[BaseModel]]: ...


@dataclass(frozen=True, kw_only=True)
class ApplicationConfig:
    """A decoded file. `kind` is the platform's name, such as `TERRAFORM`."""

    kind: str
    file: str
    #: An `ApplicationSpec`, of the platform's own subclass.
    spec: Any


def load(text: str, file: str, types: Callable[[str], PlatformTypes]) -> ApplicationConfig:
    """The application that `text` describes; `types` finds a platform by its name. Raises ConfigError."""
    document = _classic(parse(text, file))
    kind = KINDS.get(document.kind)
    if kind is None:
        raise ConfigError(
            f"{document.kind} is not an application",
            remedy=f"kind is one of {', '.join([*KINDS, GENERIC_KIND])}",
            place=document.place(("kind",)),
        )
    platform = types(kind)
    spec = decode(platform.spec, document.spec, document, ("spec",))
    spec = spec.model_copy(update={"pipeline": _pipeline(spec, document, platform)})
    return ApplicationConfig(kind=kind, file=file, spec=spec)


def auto_rollback(spec: ApplicationSpec, *, default: bool) -> bool:
    """`input.autoRollback` wins where it is written, then `planner.autoRollback`, then the kind's default."""
    written = getattr(getattr(spec, "input", None), "auto_rollback", None)
    if written is None:
        written = spec.planner.auto_rollback
    return default if written is None else bool(written)


def _classic(document: Document) -> Document:
    """`kind: Application` with one known plugin, read as that plugin's own kind."""
    if document.kind != GENERIC_KIND:
        return document
    plugins = document.spec.get("plugins") or {}
    if not isinstance(plugins, Mapping):
        raise ConfigError("is not a mapping", place=document.place(("spec", "plugins")))
    known = [name for name in plugins if name in PLUGIN_KINDS]
    if len(known) != 1:
        what = f"several platforms: {', '.join(known)}" if known else "no platform is named"
        raise ConfigError(
            what,
            remedy=f"name exactly one of {', '.join(PLUGIN_KINDS)} under plugins",
            place=document.place(("spec", "plugins")),
        )
    merged = {key: value for key, value in document.spec.items() if key != "plugins"}
    for name in plugins:
        own = plugins[name] or {}
        if name == "terraform" and isinstance(own, Mapping):
            own = {"input": own} if "input" not in own else own
        merged |= own if isinstance(own, Mapping) else {}
    lines = {_unplugged(path): line for path, line in document.lines.items()}
    kind = PLUGIN_KINDS[known[0]]
    return Document(file=document.file, kind=kind, spec=merged, lines={**lines, **document.lines})


def _unplugged(path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Where a key of a plugin stands once the plugin's keys are merged into `spec`."""
    if len(path) <= 3 or path[:2] != ("spec", "plugins"):
        return path
    return ("spec", "input", *path[3:]) if path[2] == "terraform" else ("spec", *path[3:])


def _pipeline(spec: ApplicationSpec, document: Document, platform: PlatformTypes) -> Pipeline | None:
    if spec.pipeline is None or not spec.pipeline.stages:
        return None
    known = {**GENERIC, **platform.options}
    stages: list[StageConfig] = []
    for index, raw in enumerate(spec.pipeline.stages):
        path = ("spec", "pipeline", "stages", index)
        stage = _stage(raw, index, known, document, path)
        if any(other.id == stage.id for other in stages):
            raise ConfigError(f"two stages have the id {stage.id!r}", place=document.place((*path, "id")))
        stages.append(stage)
    return spec.pipeline.model_copy(update={"stages": tuple(stages)})


def _stage(
    raw: StageConfig,
    index: int,
    known: Mapping[str, type[BaseModel]],
    document: Document,
    path: tuple[str | int, ...],
) -> StageConfig:
    options_type = known.get(raw.name)
    if options_type is None or raw.name in PREDEFINED:
        what = "is added by the planner" if raw.name in PREDEFINED else "is not a stage of this kind"
        raise ConfigError(
            f"{raw.name} {what}",
            remedy=f"known here: {', '.join(sorted(set(known) - PREDEFINED))}",
            place=document.place((*path, "name")),
        )
    options = decode(options_type, raw.options, document, (*path, "with"))
    filled = {
        "id": raw.id or f"stage-{index}",
        "options": options,
        "timeout": raw.timeout or getattr(options, "timeout", None),
        # The plugin architecture writes skipOn beside `with`, the classic kinds inside it.
        "skip_on": raw.skip_on if raw.skip_on != SkipOn() else getattr(options, "skip_on", SkipOn()),
    }
    return raw.model_copy(update=filled)
