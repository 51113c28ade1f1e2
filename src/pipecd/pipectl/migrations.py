"""`pipectl migrate …`: prepare applications for PipeCD's plugin architecture (v1).

Our agent deploys applications in both forms, so nothing needs to be migrated for it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from pipecd.client import Client
from pipecd.config.document import read, syntax_error
from pipecd.config.named_file import read_named_file
from pipecd.errors import ConfigError, Place
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.name_completion import complete_applications
from pipecd.pipectl.names import find_application
from pipecd.pipectl.output import echo
from pipecd.pipectl.values import parse_list
from pipecd.printable import printable
from pipecd.schema.api.applications_pb2 import GetApplicationRequest, UpdateApplicationDeployTargetsRequest
from pipecd.schema.model.artifact_pb2 import DeployTargets
from pipecd.wire import kind_from

#: `kind` of a file → name of its plugin.
PLUGINS = {
    "KubernetesApp": "kubernetes",
    "TerraformApp": "terraform",
    "CloudRunApp": "cloudrun",
    "LambdaApp": "lambda",
    "ECSApp": "ecs",
}
#: Keys of `spec` that belong to no plugin.
COMMON = frozenset(
    {
        *("name", "labels", "description", "planner", "commitmatcher", "pipeline", "trigger", "postsync"),
        *("timeout", "encryption", "attachment", "notification", "eventwatcher", "driftdetection"),
    }
)
NEW_KIND = "Application"


@click.command()
@click.option(
    "--applications",
    multiple=True,
    required=True,
    shell_complete=complete_applications,
    metavar="APP,…",
    help="Applications, by id or name.",
)
@with_client
async def database(client: Client, *, applications: tuple[str, ...]) -> None:
    """Set the deploy targets of applications, which agents of PipeCD v1 need.

    The platform provider becomes the deploy target of the plugin of the application's kind. An application
    that has deploy targets is left as it is.
    """
    for name in parse_list(applications):
        application_id = await find_application(client, name)
        request = GetApplicationRequest(application_id=application_id)
        application = (await client.call(client.api.GetApplication, request)).application
        label = printable(application.name)
        if application.deploy_targets_by_plugin:
            echo(f"{label} has deploy targets already")
            continue
        if not application.platform_provider:
            echo(f"{label} has no platform provider")
            continue
        plugin = kind_from(application).lower()
        targets = DeployTargets(deploy_targets=[application.platform_provider])
        update = UpdateApplicationDeployTargetsRequest(
            application_id=application_id, deploy_targets_by_plugin={plugin: targets}
        )
        await client.call(client.api.UpdateApplicationDeployTargets, update)
        echo(f"{label} is deployed by the plugin {plugin} to {printable(application.platform_provider)}")


@click.command("application-config")
@click.option("--config-files", multiple=True, metavar="FILE,…", help="Application files to convert.")
@click.option(
    "--dirs", multiple=True, metavar="DIR,…", help="Convert all files `*.pipecd.yaml` in these directories."
)
def application_config(config_files: tuple[str, ...], dirs: tuple[str, ...]) -> None:
    """Convert application files to `kind: Application`, with the platform's settings below `plugins`.

    Comments and order are kept. The earlier file stays beside the new one, with the ending `.old`. Pipeds of
    PipeCD v0 and v1, and ours, read the result.
    """
    named = parse_list(config_files)
    files = [Path(name) for name in named]
    for directory in parse_list(dirs):
        if not Path(directory).is_dir():
            raise click.UsageError(f"--dirs: {directory} is not a directory")
        files += sorted(Path(directory).rglob("*.pipecd.yaml"))
    if not files:
        raise click.UsageError("name files with --config-files, or directories with --dirs that contain some")
    for file in files:
        option = "--config-files" if str(file) in named else "--dirs"
        converted = convert(read_named_file(file, option, strip=""), str(file))
        if converted is None:
            echo(f"{file} needs no conversion")
            continue
        file.rename(f"{file}.old")
        file.write_text(converted)
        echo(f"Converted {file}")


def convert(text: str, file: str) -> str | None:
    """The text in the new form; None if it has that already. Raises ConfigError.

    Lines are moved and indented, so comments stay. The result is compared with the meaning of the original.
    """
    root = _compose(text, file)
    keys = {key.value: (key, value) for key, value in root.value}
    kind = keys["kind"][1].value if "kind" in keys else ""
    if kind == NEW_KIND:
        return None
    if kind not in PLUGINS:
        raise ConfigError(
            f"kind {kind!r} is no application",
            remedy=f"specify files of {', '.join(PLUGINS)}",
            place=Place(file=file),
        )
    spec = keys["spec"][1] if "spec" in keys else None
    if not isinstance(spec, yaml.MappingNode) or spec.flow_style or root.flow_style:
        raise ConfigError(
            "spec is not a block of keys", remedy="write one key per line", place=Place(file=file)
        )
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    end = min(
        [key.start_mark.line for key, _ in root.value if key.start_mark.line > spec.start_mark.line]
        or [len(lines)]
    )
    starts = [_first_line(lines, key) for key, _ in spec.value]
    blocks = list(zip(spec.value, starts, [*starts[1:], end], strict=True))
    indent = spec.value[0][0].start_mark.column if spec.value else 2
    common: list[str] = []
    own: list[str] = []
    for (key, _), start, stop in blocks:
        (common if key.value.lower() in COMMON else own).append("".join(lines[start:stop]))
    step = " " * indent
    section = [f"{step}plugins:\n", f"{step * 2}{PLUGINS[kind]}:{'' if own else ' {}'}\n"]
    section += [_indented(block, step * 2) for block in own]
    head = lines[: starts[0]] if starts else lines[:end]
    kind_line = keys["kind"][1].start_mark.line
    head_text = [
        line.replace(kind, NEW_KIND, 1) if number == kind_line else line for number, line in enumerate(head)
    ]
    tail = [
        line.replace(kind, NEW_KIND, 1) if end + number == kind_line else line
        for number, line in enumerate(lines[end:])
    ]
    result = "".join([*head_text, *common, *section, *tail])
    _check(text, result, PLUGINS[kind], file)
    return result


def _compose(text: str, file: str) -> yaml.MappingNode:
    """The nodes of a file that can be read as an application file. Raises ConfigError."""
    read(text, file)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        # The file has more documents than the first.
        raise syntax_error(error, file) from error
    assert isinstance(root, yaml.MappingNode)
    return root


def _first_line(lines: Sequence[str], key: yaml.Node) -> int:
    """The line of a key, or the first of the comment above it."""
    line: int = key.start_mark.line
    while line and lines[line - 1].strip().startswith("#"):
        line -= 1
    return line


def _indented(block: str, by: str) -> str:
    return "".join(by + line if line.strip() else line for line in block.splitlines(keepends=True))


def _check(old: str, new: str, plugin: str, file: str) -> None:
    """Raises ConfigError unless `new` means the same."""
    before: Mapping[str, Any] = yaml.safe_load(old)
    spec = before["spec"]
    own = {key: value for key, value in spec.items() if key.lower() not in COMMON}
    common = {key: value for key, value in spec.items() if key not in own}
    wanted = {**before, "kind": NEW_KIND, "spec": {**common, "plugins": {plugin: own}}}
    try:
        same = yaml.safe_load(new) == wanted
    except yaml.YAMLError:
        same = False
    if not same:
        raise ConfigError(
            "the file is written in a form that cannot be converted",
            remedy="write each key of spec on a line of its own, without anchors between them",
            place=Place(file=file),
        )
