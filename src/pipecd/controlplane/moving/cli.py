"""`pipecd import`. Imported only when it runs."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from pipecd.config import controlplane as config
from pipecd.config.controlplane import database_url
from pipecd.config.document import locating_errors, parse_kind
from pipecd.config.named_file import read_named_file
from pipecd.controlplane.cli import configuration
from pipecd.controlplane.moving import files, mysql, records
from pipecd.controlplane.store import Store, deliveries
from pipecd.model.actor import Actor, ActorKind
from pipecd.printable import printable

_FILE = click.Path(dir_okay=False, path_type=Path)
ACTOR = Actor(kind=ActorKind.OPERATOR, id="operator", name="operator", action="import")


@click.command("import")
@click.option("--config-file", type=_FILE, required=True, help="Configuration file of this control plane.")
@click.option(
    "--from-config-file",
    type=_FILE,
    required=True,
    help="Configuration file of PipeCD's control plane, whose datastore is MYSQL.",
)
@click.option("--yes", is_flag=True, help="Do not ask about roles with label conditions.")
def command(config_file: Path, from_config_file: Path, yes: bool) -> None:
    """Import projects, agents, keys, applications, deployments, events and logs of PipeCD's control plane.

    Stop PipeCD's control plane first. Agents and keys keep working with this one. The command can be
    repeated: records that exist are not changed.
    """
    text = read_named_file(str(from_config_file), "--from-config-file")
    theirs = parse_kind(text, str(from_config_file), config.KIND, program="PipeCD's control plane")
    with locating_errors(theirs):
        address, objects = mysql.read_address(theirs), files.open_source(theirs)
    with configuration(config_file) as spec, mysql.connected(address) as source:
        conditions = list(records.label_conditions(source))
        if conditions and not yes:
            _confirm(conditions)
        result = asyncio.run(_import(spec, source, objects))
    for table in (*records.TABLES, files.NAME):
        click.echo(
            f"{table:<16} {result.imported[table]:>7} imported, {result.existing[table]} existed already"
            + (f", {result.failed[table]} failed" if result.failed[table] else "")
        )
    for problem in result.problems:
        click.echo(printable(problem), err=True)
    if result.failed:
        raise SystemExit(1)


def _confirm(conditions: Sequence[tuple[str, str, Sequence[str]]]) -> None:
    click.echo(
        "These roles have label conditions. PipeCD stores them without effect; this control plane obeys them,"
        " so people with only these roles will see less than before:"
    )
    for project, role, labels in conditions:
        click.echo(printable(f"  {project}: {role}: {', '.join(labels)}"))
    click.confirm("Import them as they are?", abort=True)


async def _import(
    spec: config.ControlPlaneSpec, source: mysql.Source, objects: files.Source | None
) -> records.Result:
    result = records.Result()
    store = await Store.open(database_url(spec))
    try:
        for table in records.TABLES:
            await records.import_table(store, source, table, result, by=ACTOR)
        await deliveries.fill(store.database)
    finally:
        await store.close()
    if objects:
        await files.copy_files(objects, spec.filestore, result)
    return result
