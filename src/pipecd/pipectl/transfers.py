"""`pipectl transfer …`: move agents and applications from one control plane to another.

The files are those of PipeCD's `pipectl transfer`, so that either program continues what the other began. The
history stays at the old control plane; `pipecd import` moves it too, with access to the database.
"""

import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence, Sized
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from pipecd import proto_json
from pipecd.client import Client
from pipecd.config.named_file import read_named_file
from pipecd.errors import ConfigError, Conflict, PipecdError, Unsupported
from pipecd.json_input import decode_json
from pipecd.pipectl.applications import add_application
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.output import echo
from pipecd.pipectl.values import parse_pairs
from pipecd.printable import printable
from pipecd.schema.api import applications_pb2 as api
from pipecd.schema.api.pipeds_pb2 import GetPipedRequest, RegisterPipedRequest
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.pipecd.v1.program_pb2 import ListPipedsRequest
from pipecd.wire import kind_from, kind_number, provider_from

_FORMAT = "1"
#: Of a page of applications; control planes allow no more.
_PAGE = 200
#: Of a backup, in characters.
_MAX_LENGTH = 512 * 1024 * 1024
_FILE = click.Path(dir_okay=False, path_type=Path)
_INPUT = click.option(
    "--input-file", type=_FILE, required=True, help="File that `pipectl transfer backup` wrote."
)
_LABELS = click.option(
    "--labels", multiple=True, metavar="K=V,…", help="Only applications that have all of these labels."
)


@click.command()
@click.option("--output-file", type=_FILE, required=True, help="File to write. Only you can read it.")
@_LABELS
@with_client
async def backup(client: Client, *, output_file: Path, labels: tuple[str, ...]) -> None:
    """Write all pipeds and applications of the project to a file.

    Without the history, keys and users. Pipeds without an application are included if the control plane lists
    pipeds to programs; PipeCD's does not.
    """
    wanted = parse_pairs(labels, "=", "--labels")
    applications = [
        application
        for disabled in (False, True)
        async for application in _list_applications(client, wanted, disabled=disabled)
    ]
    pipeds = await _load_pipeds(client, applications, everything=not wanted)
    document = {
        "version": _FORMAT,
        "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "pipeds": [proto_json.to_object(piped) for piped in pipeds],
        "applications": [proto_json.to_object(application) for application in applications],
    }
    _write(output_file, document)
    echo(f"Wrote {_count(pipeds, 'piped')} and {_count(applications, 'application')} to {output_file}")


def _count(records: Sized, noun: str) -> str:
    return f"{len(records)} {noun}{'' if len(records) == 1 else 's'}"


@click.command()
@_INPUT
@click.option(
    "--output-file",
    type=_FILE,
    default=None,
    help="File for the new ids and keys. Pipeds that it contains are not registered again. Default: stdout.",
)
@with_client
async def restore_piped(client: Client, *, input_file: Path, output_file: Path | None) -> None:
    """Register the pipeds of a backup, and write their new ids and keys.

    Write the new id and key to each piped's configuration and start it before restoring applications: the
    control plane learns the repositories from the pipeds.
    """
    pipeds = _read_records(input_file, "pipeds", Piped)
    mappings = _read_mappings(output_file, "--output-file") if output_file and output_file.exists() else []
    known = {mapping["old_piped_id"] for mapping in mappings}
    try:
        for piped in pipeds:
            if piped.id in known:
                echo(f"{printable(piped.name)} is registered already", err=True)
                continue
            request = RegisterPipedRequest(name=piped.name, desc=piped.desc)
            registered = await client.call(client.api.RegisterPiped, request)
            mappings.append(
                {
                    "old_piped_id": piped.id,
                    "new_piped_id": registered.id,
                    "new_key": registered.key,
                    "piped_name": piped.name,
                }
            )
            if output_file:
                # At once: a key is not shown again.
                _write(output_file, {"piped_mappings": mappings})
            echo(f"Registered {printable(piped.name)} as {registered.id}", err=True)
    finally:
        if output_file is None and mappings:
            echo(json.dumps({"piped_mappings": mappings}, indent=2))


@click.command()
@_INPUT
@click.option(
    "--piped-id-mapping-file",
    type=_FILE,
    required=True,
    help="File that `pipectl transfer restore piped` wrote.",
)
@_LABELS
@with_client
async def restore_application(
    client: Client, *, input_file: Path, piped_id_mapping_file: Path, labels: tuple[str, ...]
) -> None:
    """Register the applications of a backup with the pipeds that were restored.

    One that is registered already, with the same name, piped and place in Git, is left as it is. Disabled
    applications are disabled again. An application that is refused stops no other.
    """
    mappings = _read_mappings(piped_id_mapping_file, "--piped-id-mapping-file")
    new_ids = {mapping["old_piped_id"]: mapping["new_piped_id"] for mapping in mappings}
    wanted = parse_pairs(labels, "=", "--labels")
    existing = {
        _place(application, application.piped_id)
        for disabled in (False, True)
        async for application in _list_applications(client, {}, disabled=disabled)
    }
    restored = kept = failed = 0
    for application in _read_records(input_file, "applications", Application):
        if not wanted.items() <= dict(application.labels).items():
            continue
        piped_id = new_ids.get(application.piped_id, "")
        if _place(application, piped_id) in existing:
            kept += 1
            continue
        try:
            if not piped_id:
                raise Conflict(f"its piped {application.piped_id} is not in {piped_id_mapping_file}")
            await _restore(client, application, piped_id)
        except PipecdError as error:
            failed += 1
            echo(f"{printable(application.name)} was not restored: {printable(str(error))}", err=True)
        else:
            restored += 1
            echo(f"Restored {printable(application.name)}", err=True)
    echo(f"Applications: {restored} restored, {kept} existed already, {failed} failed")
    if failed:
        raise Conflict("some applications were not restored; fix the reported errors, and repeat the command")


async def _restore(client: Client, application: Application, piped_id: str) -> None:
    kind = kind_from(application)
    request = api.AddApplicationRequest(
        name=application.name,
        piped_id=piped_id,
        git_path=application.git_path,
        kind=kind_number(kind),
        platform_provider=provider_from(application),
        description=application.description,
        labels=dict(application.labels),
    )
    added = await add_application(client, request, kind)
    if application.disabled:
        disable = api.DisableApplicationRequest(application_id=added.application_id)
        await client.call(client.api.DisableApplication, disable)


def _place(application: Application, piped_id: str) -> tuple[str, ...]:
    path = application.git_path
    return (application.name, piped_id, path.repo.id, path.path, path.config_filename)


async def _list_applications(
    client: Client, labels: Mapping[str, str], *, disabled: bool
) -> AsyncIterator[Application]:
    cursor = ""
    while True:
        request = api.ListApplicationsRequest(disabled=disabled, labels=labels, limit=_PAGE, cursor=cursor)
        page = await client.call(client.api.ListApplications, request)
        for application in page.applications:
            if not application.deleted:
                yield application
        cursor = page.cursor
        if not cursor or not page.applications:
            return


async def _load_pipeds(
    client: Client, applications: Sequence[Application], *, everything: bool
) -> Sequence[Piped]:
    used = dict.fromkeys(application.piped_id for application in applications)
    if everything:
        try:
            request = ListPipedsRequest(with_disabled=True)
            return list((await client.call(client.program.ListPipeds, request)).pipeds)
        except Unsupported:
            pass
    pipeds = []
    for piped_id in used:
        found = await client.call(client.api.GetPiped, GetPipedRequest(piped_id=piped_id))
        pipeds.append(found.piped)
    return pipeds


def _write(file: Path, document: Mapping[str, Any]) -> None:
    """Replace the file, readable by the user alone: it may contain keys. Raises ConfigError."""
    new = file.with_name(f".{file.name}.new")
    try:
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump(document, stream, indent=2, ensure_ascii=False)
            stream.write("\n")
        new.replace(file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from error


def _read(file: Path, option: str) -> Mapping[str, Any]:
    """The content of a file of `pipectl transfer`, which `option` named. Raises ConfigError."""
    text = read_named_file(file, option, max_length=_MAX_LENGTH)
    try:
        document = decode_json(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ConfigError(
            f"{option}: {file} contains no JSON object", remedy="specify a file that `pipectl transfer` wrote"
        )
    return document


def _read_records(file: Path, key: str, kind: type[Any]) -> Sequence[Any]:
    document = _read(file, "--input-file")
    if document.get("version") != _FORMAT or not isinstance(document.get(key), list):
        raise ConfigError(
            f"--input-file: {file} is no backup with {key}", remedy="write it with `pipectl transfer backup`"
        )
    try:
        return [proto_json.loads(kind, json.dumps(record)) for record in document[key]]
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"--input-file: {key} of {file} contains an invalid record: {error}",
            remedy="write it again with `pipectl transfer backup`",
        ) from error


def _read_mappings(file: Path, option: str) -> list[Mapping[str, str]]:
    mappings = _read(file, option).get("piped_mappings")
    if not isinstance(mappings, list) or not all(
        isinstance(mapping, dict)
        and isinstance(mapping.get("old_piped_id"), str)
        and isinstance(mapping.get("new_piped_id"), str)
        for mapping in mappings
    ):
        raise ConfigError(
            f"{option}: {file} contains no ids of pipeds",
            remedy="write it with `pipectl transfer restore piped`",
        )
    return mappings
