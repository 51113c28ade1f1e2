"""The kind DIRECTORY: keeps a directory on the agent's machine equal to a directory in Git."""

import asyncio
import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipecd.config.application import ApplicationSpec
from pipecd.config.decode import LenientModel, StrictModel
from pipecd.config.stages import NoOptions
from pipecd.config.values import InsideApplication
from pipecd.model.deployment import SyncStrategy, Version, VersionKind
from pipecd.model.observation import ObservationRequest
from pipecd.model.resource import Health, Resource
from pipecd.model.stage import Done, Outcome, Source, Work
from pipecd.platforms import Observes, Platform, Predefined, Strategy, in_thread

#: The SHA-256 of each file, by its path in the directory.
Files = Mapping[str, str]


class Input(StrictModel):
    source: InsideApplication = "files"


class DirectoryApp(ApplicationSpec):
    input: Input = Input()


class Provider(LenientModel):
    #: Contains one directory for each application, named by the application's id.
    root: Path


def list_files(folder: Path) -> Files:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def load_desired_state(source: Source) -> Files:
    return list_files(source.directory / source.config.spec.input.source)


def copy_files(source: Source, target: Path) -> str:
    """Can be repeated after an interruption at any point: it compares before it copies."""
    wanted, present = load_desired_state(source), list_files(target)
    changed = [name for name, digest in wanted.items() if present.get(name) != digest]
    for name in changed:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.directory / source.config.spec.input.source / name, target / name)
    for name in present.keys() - wanted.keys():
        (target / name).unlink()
    return f"{len(changed)} files copied, {len(present.keys() - wanted.keys())} deleted"


async def sync(work: Work[Any]) -> Outcome:
    return await _copy(work, await work.checkouts.target())


async def rollback(work: Work[Any]) -> Outcome:
    return await _copy(work, await work.checkouts.running())


async def _copy(work: Work[Any], source: Source) -> Outcome:
    note = await asyncio.to_thread(copy_files, source, work.provider.root / work.application.id)
    work.log.success(note)
    return Done(note=note)


def versions(desired: Files) -> Sequence[Version]:
    return [Version(kind=VersionKind.UNKNOWN, version=f"{len(desired)} files")]


def choose_strategy(running: Files | None, target: Files) -> Strategy:
    return Strategy(strategy=SyncStrategy.PIPELINE, reason="Sync with the pipeline")


async def load_live_state(request: ObservationRequest) -> Sequence[Resource]:
    namespace = request.application.id
    files = await asyncio.to_thread(list_files, request.provider.root / namespace)
    return [
        Resource(
            id=name, kind="File", name=name, api_version="v1", namespace=namespace, health=Health.HEALTHY
        )
        for name in files
    ]


async def watch(provider: Provider, changed: Callable[[str], None]) -> None:
    """A cloud would send events; a directory is compared with how it was."""
    seen: dict[str, Files] = {}
    while True:
        for folder in await asyncio.to_thread(lambda: list(provider.root.glob("*"))):
            files = await asyncio.to_thread(list_files, folder)
            if seen.setdefault(folder.name, files) != files:
                changed(folder.name)
            seen[folder.name] = files
        await asyncio.sleep(0.2)


platform = Platform(
    config_kind="DirectoryApp",
    spec=DirectoryApp,
    provider=Provider,
    quick_sync=Predefined(id="DirectorySync", name="DIRECTORY_SYNC", desc="Copy the files"),
    options={"DIRECTORY_SYNC": NoOptions},
    stages={"DIRECTORY_SYNC": sync, "ROLLBACK": rollback},
    load_desired_state=in_thread(load_desired_state),
    versions=versions,
    choose_strategy=choose_strategy,
    observes=Observes(load=load_live_state),
    watch=watch,
)
