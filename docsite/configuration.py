"""Reference pages of the configuration files: one per kind of file, and one per platform.

The pages are built from the models in `pipecd.config`, and from `spec`, `provider` and `options` of each
platform.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from docsite.keys import Key, keys, models_below, nested_keys
from docsite.markdown import code, page, slug, table
from pipecd import stages
from pipecd.config import analysis, application, controlplane, event_watcher, pipectl, piped
from pipecd.platforms import Platform
from pipecd.platforms.awslambda.function import LambdaFunction
from pipecd.platforms.registry import installed_platforms, load_platform

_HEADER = ("Key", "Type", "Default", "Meaning")
#: Further files of a platform's applications, by kind.
_FILES: Mapping[str, Mapping[str, type[BaseModel]]] = {"LAMBDA": {"LambdaFunction": LambdaFunction}}


def pages() -> Mapping[str, str]:
    """Page text by path below docs/reference."""
    texts = {
        "piped": _piped(),
        "control-plane": _control_plane(),
        "pipectl": _pipectl(),
        "application": _application(),
        "analysis": _analysis(),
        "event-watcher": _event_watcher(),
        "stages": _stages(),
        **{name.lower(): _platform(name, platform) for name, platform in _platforms().items()},
    }
    return {f"configuration/{name}.md": text for name, text in texts.items()}


def documented_models() -> set[type[BaseModel]]:
    """Every model whose keys are on one of the pages."""
    roots: list[type[BaseModel]] = [
        piped.PipedSpec,
        controlplane.ControlPlaneSpec,
        pipectl.PipectlSpec,
        *controlplane.DATASTORES.values(),
        *controlplane.FILESTORES.values(),
        application.ApplicationSpec,
        event_watcher.EventWatcherSpec,
        analysis.AnalysisTemplateSpec,
        *analysis.PROVIDER_CONFIGS.values(),
        *stages.OPTIONS.values(),
        *(model for files in _FILES.values() for model in files.values()),
    ]
    for platform in _platforms().values():
        roots += [platform.spec, platform.provider, *platform.options.values()]
    return {model for root in roots for model in models_below(root)}


def _piped() -> str:
    links = ", ".join(f"[{name}]({name.lower()}.md#platform-provider)" for name in _platforms())
    return page(
        "Agent configuration",
        "The file of the agent (`kind: Piped`), read by `piped` and `launcher`. Unknown keys are ignored.",
        _sections(piped.PipedSpec),
        f"The keys of `platformProviders[].config` depend on the provider's type: {links}.",
    )


def _control_plane() -> str:
    parts = [
        f"## `{store}.config` with type {name}\n\n{_table(nested_keys(model))}"
        for store, types in (("datastore", controlplane.DATASTORES), ("filestore", controlplane.FILESTORES))
        for name, model in types.items()
    ]
    return page(
        "Control plane configuration",
        "The file of the control plane (`kind: ControlPlane`), read by `pipecd server` and `pipecd ops`. An"
        " unknown key is an error, but ignored in `datastore.config` and `filestore.config`.",
        _sections(controlplane.ControlPlaneSpec),
        *parts,
    )


def _pipectl() -> str:
    return page(
        "pipectl configuration",
        "The configuration file of `pipectl` (`kind: Pipectl`), described in its"
        " [guide](../../guide/pipectl.md#profiles). An unknown key is an error.",
        _sections(pipectl.PipectlSpec),
    )


def _application() -> str:
    links = ", ".join(
        f"[{platform.config_kind}]({name.lower()}.md)" for name, platform in _platforms().items()
    )
    return page(
        "Application configuration",
        "The keys of an application's file (`app.pipecd.yaml`) that all kinds have. An unknown key is an"
        " error.",
        f"Kinds, with the keys that they add: {links}. The keys of `pipeline.stages[].with` depend on the"
        " stage: see [stages](stages.md) and the page of the kind.",
        _sections(application.ApplicationSpec),
    )


def _analysis() -> str:
    parts = [
        f"## `config` of a provider with type {name}\n\n{_table(nested_keys(model))}"
        for name, model in analysis.PROVIDER_CONFIGS.items()
    ]
    return page(
        "Analysis",
        "Files of `kind: AnalysisTemplate` in the directory `.pipe` of a repository, and providers in the"
        " [agent's file](piped.md). See the [guide](../../guide/analysis.md) and the options of the stage"
        " [ANALYSIS](stages.md).",
        _sections(analysis.AnalysisTemplateSpec),
        *parts,
    )


def _event_watcher() -> str:
    return page(
        "Event watcher files",
        "Files of `kind: EventWatcher` in the directory `.pipe` of a repository, described in the"
        " [guide](../../guide/events.md). An unknown key is an error.",
        _sections(event_watcher.EventWatcherSpec),
    )


def _stages() -> str:
    return page(
        "Stages",
        "Options (`with`) of the stages that every kind of application may use. The stages of a platform are"
        " on its own page.",
        *_stage_options(stages.OPTIONS),
    )


def _platform(name: str, platform: Platform[Any]) -> str:
    common = {key.path for key in keys(application.ApplicationSpec)}
    own = [key for key in keys(platform.spec) if key.path not in common]
    files = [
        f"## {kind} file\n\nA file with `kind: {kind}`.\n\n{_table(nested_keys(model))}"
        for kind, model in _FILES.get(name, {}).items()
    ]
    return page(
        platform.config_kind,
        f"The file of an application with `kind: {platform.config_kind}`, in addition to the"
        " [keys of all kinds](application.md).",
        _table(_expand(own)),
        f"Default of `autoRollback`: `{str(platform.auto_rollback).lower()}`. Stage of a quick sync:"
        f" `{platform.quick_sync.name}`.",
        *_stage_options(platform.options),
        "## Platform provider",
        f"`config` of a platform provider with `type: {name}` in the [agent's file](piped.md).",
        _table(nested_keys(platform.provider)),
        *files,
    )


def _sections(model: type[BaseModel]) -> str:
    """A table of the model's own keys, and a section for each key that has keys below it."""
    own = keys(model)
    #: One section per model: a key's former name refers to the section of its new name.
    sections = {key.model: key for key in reversed(own) if key.model}
    rows = [
        _row(key, link=f"[`{key.path}`](#{slug(sections[key.model].path)})" if key.model else "")
        for key in own
    ]
    parts = [
        f"## `{key.path}`\n\n{key.meaning}\n\n{_table(nested_keys(model))}"
        for model, key in reversed(sections.items())
    ]
    return "\n\n".join([f"## Keys of `spec`\n\n{table(_HEADER, rows)}", *parts])


def _stage_options(options: Mapping[str, type[BaseModel]]) -> Iterator[str]:
    for name, model in options.items():
        yield f"## `{name}`\n\n{_table(nested_keys(model)) or 'No options.'}"


def _expand(own: Sequence[Key]) -> Iterator[Key]:
    for key in own:
        yield key
        if key.model:
            for below in nested_keys(key.model):
                yield Key(
                    path=f"{key.path}.{below.path}",
                    type_name=below.type_name,
                    default=below.default,
                    meaning=below.meaning,
                    model=below.model,
                )


def _table(rows: Iterator[Key]) -> str:
    return table(_HEADER, (_row(key) for key in rows))


def _row(key: Key, *, link: str = "") -> tuple[str, str, str, str]:
    return link or code(key.path), key.type_name, key.default, key.meaning


def _platforms() -> Mapping[str, Platform[Any]]:
    """The platforms of this package; not those that other packages in the environment provide."""
    return {
        kind: load_platform(kind)
        for kind, installed in installed_platforms().items()
        if installed.package == "pipecd"
    }
