"""Writes the data of registered events into files in Git. One loop per repository; one commit per branch.

Several agents, and people, may push to the same branch. The head of the branch is read before the events, so
that a push that replaces a newer value is refused by the remote; then everything is read and computed again.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog

from pipecd import tracing
from pipecd.bounded_dict import BoundedDict
from pipecd.clock import Clock
from pipecd.config.piped import EventWatcher as EventWatcherSpec
from pipecd.errors import Conflict, PipecdError, Temporary, UserError
from pipecd.git.forge import Forges
from pipecd.git.forge.pull_request import Proposal
from pipecd.git.mirror import Mirrors, MissingBranch
from pipecd.model.event import Event, EventOutcome, EventResult, combine_results, select_events
from pipecd.piped.events.commits import (
    Task,
    Written,
    pull_request_branch,
    pull_request_texts,
    write_events,
)
from pipecd.piped.events.obsolete import ObsoletePullRequests
from pipecd.piped.events.records import EventRecords, WatchResult
from pipecd.piped.events.watches import Watch, WatchReader
from pipecd.piped.loop import Wake, repeat
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.view import View
from pipecd.piped.settings import EventSettings
from pipecd.piped.source.heads import Head, Heads
from pipecd.piped.source.weblinks import commit_url
from pipecd.piped.trigger.discovery import config_path
from pipecd.remotes import host_name, same_repository

log = structlog.get_logger()

#: Reported results that are remembered: a list that was requested earlier may still contain their events.
MAX_REPORTED = 10_000
#: Repository, watch and event.
ResultKey = tuple[str, str, str]


class EventWatcher:
    def __init__(
        self,
        records: EventRecords,
        mirrors: Mirrors,
        heads: Heads,
        view: View,
        leadership: Leadership,
        clock: Clock,
        spec: EventWatcherSpec,
        on_push: Callable[[str], None],
        settings: EventSettings,
        forges: Forges,
    ) -> None:
        """`on_push` is called with the remote after a push to it."""
        self._records, self._mirrors, self._heads = records, mirrors, heads
        self._view, self._leadership, self._clock = view, leadership, clock
        self._spec, self._on_push, self._settings = spec, on_push, settings
        self._forges = forges
        self._repository_settings = {each.repo_id: each for each in spec.git_repos}
        self._obsolete = ObsoletePullRequests(mirrors, forges)
        self._watch_reader = WatchReader(mirrors)
        self._wakes = {repo_id: Wake() for repo_id in heads.repositories}
        #: By repository, once it was read: its watches; empty if it could not be read.
        self._watches: dict[str, Sequence[Watch]] = {}
        self._results: dict[ResultKey, EventResult] = {}
        self._reported = BoundedDict[ResultKey, None](MAX_REPORTED)
        #: By repository, the watches that the control plane has.
        self._registered: dict[str, Sequence[Watch]] = {}

    def check_soon(self, remote: str = "") -> None:
        """Events were registered; or `remote` was pushed to, if given."""
        for repo_id, wake in self._wakes.items():
            if not remote or same_repository(remote, self._heads.repositories[repo_id].remote):
                wake()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for repo_id, wake in self._wakes.items():
                loop = repeat(
                    f"events of {repo_id}",
                    lambda repo_id=repo_id: self._check(repo_id),  # type: ignore[misc]
                    clock=self._clock,
                    interval=self._spec.check_interval.total_seconds(),
                    wake=wake,
                    feeds=(self._leadership.feed,),
                )
                tasks.create_task(loop, name=f"events {repo_id}")
            tasks.create_task(self._notice_applications(), name="applications with event watchers")

    async def _notice_applications(self) -> None:
        """Checks a repository as soon as an application in it is registered, which may watch events."""
        with self._view.applications_feed.subscribe(Wake()) as refreshed:
            await self._view.wait_until_loaded()
            known = self._application_paths()
            while True:
                await refreshed.wait()
                paths = self._application_paths()
                for repo_id in {repo_id for repo_id, _ in paths - known} & self._wakes.keys():
                    self._wakes[repo_id]()
                known = paths

    async def _check(self, repo_id: str) -> None:
        await self._view.wait_until_loaded()
        for delay in (*self._settings.conflict_retry.delays(), None):
            if not self._leadership.lease.may_begin:
                return
            try:
                await self._check_once(repo_id)
                return
            except Conflict as error:
                log.info("event_push_repeated", repository=repo_id, reason=str(error))
                if delay is None:
                    raise Temporary(f"{repo_id}: other pushes were always faster") from error
                await self._clock.sleep(delay)

    async def _check_once(self, repo_id: str) -> None:
        try:
            head = await self._load(repo_id)
        except PipecdError:
            self._watches.setdefault(repo_id, ())
            raise
        await self._register(repo_id)
        if not self._watches[repo_id]:
            return
        events = await self._records.list_pending(self._spec.max_age.total_seconds())
        try:
            await self._handle(head, self._tasks(repo_id, events))
        finally:
            if self._records.has_results:
                await self._report_results(head)
            else:
                await self._report_statuses(events)
        await self._obsolete.close(head, self._watches[repo_id])

    async def _register(self, repo_id: str) -> None:
        watches = self._watches[repo_id]
        if self._records.has_results and self._registered.get(repo_id) != watches:
            await self._records.report_watches(repo_id, watches)
            self._registered[repo_id] = watches

    async def _load(self, repo_id: str) -> Head:
        """The head of the repository, whose watches are known afterwards."""
        paths = self._application_files(repo_id)
        head = await self._heads.load_head(repo_id, also=paths)
        settings = self._repository_settings.get(repo_id)
        self._watches[repo_id] = await self._watch_reader.read(head, paths, settings)
        return head

    def _application_files(self, repo_id: str) -> frozenset[str]:
        return frozenset(path for repository, path in self._application_paths() if repository == repo_id)

    def _application_paths(self) -> frozenset[tuple[str, str]]:
        """Repository and path of the file of each enabled application."""
        return frozenset(
            (application.git_path.repo_id, path)
            for application in self._view.applications.values()
            if not application.disabled and (path := config_path(application))
        )

    def _tasks(self, repo_id: str, events: Sequence[Event]) -> Sequence[Task]:
        """What is to be written; the results of outdated events are recorded."""
        by_key: dict[str, list[Event]] = {}
        for event in events:
            by_key.setdefault(event.key, []).append(event)
        now, max_age = int(self._clock.now()), int(self._spec.max_age.total_seconds())
        selections = {key: select_events(each, now=now, max_age=max_age) for key, each in by_key.items()}
        tasks = []
        for watch in self._watches[repo_id]:
            selection = selections.get(watch.key)
            if selection is None:
                continue
            handled = {event.id for event in by_key[watch.key] if self._is_handled(repo_id, watch.id, event)}
            for event_id, reason in selection.outdated.items():
                if event_id not in handled:
                    result = EventResult(outcome=EventOutcome.OUTDATED, message=reason)
                    self._results[repo_id, watch.id, event_id] = result
            if selection.due and selection.due.id not in handled:
                tasks.append(Task(watch=watch, event=selection.due))
        return tasks

    def _is_handled(self, repo_id: str, watch_id: str, event: Event) -> bool:
        key = (repo_id, watch_id, event.id)
        return key in self._results or key in self._reported or (repo_id, watch_id) in event.handled_by

    async def _handle(self, head: Head, tasks: Sequence[Task]) -> None:
        """One branch's failure does not stop the others. Raises the first Conflict or Temporary."""
        branches: dict[tuple[str, str], list[Task]] = {}
        for task in tasks:
            base = task.watch.branch or head.repository.branch
            own = pull_request_branch(task.watch) if task.watch.make_pull_request else ""
            branches.setdefault((base, own), []).append(task)
        errors: list[PipecdError] = []
        for (base, own), group in branches.items():
            attributes = {"repository": head.repository.id, "branch": own or base}
            try:
                with tracing.span("event watcher", attributes=attributes):
                    written = await (
                        self._write_own(head, base, own, group) if own else self._write(head, base, group)
                    )
            except (Conflict, Temporary) as error:
                errors.append(error)
            except PipecdError as error:
                failure = EventResult(outcome=EventOutcome.FAILURE, message=str(error))
                self._record(head, {task.key: failure for task in group})
            else:
                self._record(head, written.results)
        if errors:
            # A conflict is repeated at once.
            raise next((error for error in errors if isinstance(error, Conflict)), errors[0])

    async def _write(self, head: Head, branch: str, tasks: Sequence[Task]) -> Written:
        """Commits on `branch` of the repository."""
        remote = head.repository.remote
        base = await self._branch_head(head, branch)
        written = await write_events(self._mirrors, remote, base, tasks)
        if written.tip != base:
            await self._mirrors.push(remote, written.tip, branch)
            self._on_push(remote)
            self._log_push(head, branch, written)
        return _with_place(written, branch, remote)

    async def _write_own(self, head: Head, branch: str, own: str, tasks: Sequence[Task]) -> Written:
        """Commits on `branch`, pushed to a branch of their own, which is replaced if it exists."""
        remote = head.repository.remote
        expected = await self._find_branch(remote, own)
        base = await self._branch_head(head, branch)
        written = await write_events(self._mirrors, remote, base, tasks)
        if written.tip == base:
            return await self._close_obsolete(head, branch, own, written) if expected else written
        if expected:
            await self._mirrors.ensure_commit(remote, expected)
            proposed = await write_events(self._mirrors, remote, expected, tasks)
            if proposed.tip == expected:
                # Pushed earlier; it is not known whether there is a pull request.
                return await self._propose(head, branch, own, proposed)
        await self._mirrors.push(remote, written.tip, own, expected=expected)
        self._log_push(head, own, written)
        return await self._propose(head, branch, own, _with_place(written, own, remote))

    async def _propose(self, head: Head, base: str, own: str, written: Written) -> Written:
        """Opens or updates the pull request of the branch `own`, and adds it to the results."""
        remote = head.repository.remote
        if not self._forges.has(remote):
            note = f"no pull request: spec.gitHosts of the agent has no entry for {host_name(remote)}"
            return _annotate(written, note, branch=own)
        commit = await self._mirrors.commit(remote, written.tip, own)
        title, body = pull_request_texts(commit.message)
        proposal = Proposal(remote=remote, branch=own, base=base, title=title, body=body)
        try:
            pull_request = await self._forges.ensure_pull_request(proposal)
        except UserError as error:
            note = f"but there is no pull request for the branch {own}: {error}"
            return _annotate(written, note, branch=own, outcome=EventOutcome.FAILURE)
        log.info("pull_request_ready", repository=head.repository.id, branch=own, url=pull_request.url)
        note = f"pull request {pull_request.number}: {pull_request.url}".rstrip(": ")
        return _annotate(written, note, branch=own, pull_request=pull_request.url)

    async def _close_obsolete(self, head: Head, base: str, own: str, written: Written) -> Written:
        """The branch `base` has the values; the pull request of the branch `own` proposes older ones."""
        try:
            closed = await self._obsolete.close_branch(head, base, own)
        except UserError as error:
            return _annotate(written, f"the pull request of the branch {own} could not be closed: {error}")
        if closed is None:
            return written
        note = f"closed pull request {closed.number}: {closed.url}".rstrip(": ")
        return _annotate(written, note, pull_request=closed.url)

    async def _branch_head(self, head: Head, branch: str) -> str:
        if branch == head.repository.branch:
            return head.commit.hash
        commit = await self._mirrors.head(head.repository.remote, branch)
        await self._mirrors.ensure_commit(head.repository.remote, commit)
        return commit

    async def _find_branch(self, remote: str, branch: str) -> str:
        """The head of a branch; empty if it does not exist."""
        try:
            return await self._mirrors.head(remote, branch)
        except MissingBranch:
            return ""

    def _log_push(self, head: Head, branch: str, written: Written) -> None:
        log.info(
            "events_written",
            repository=head.repository.id,
            branch=branch,
            commit=written.tip,
            events=len(written.results),
        )

    def _record(self, head: Head, results: Mapping[tuple[str, str], EventResult]) -> None:
        for (watch_id, event_id), result in results.items():
            self._results[head.repository.id, watch_id, event_id] = result
            if result.outcome is EventOutcome.FAILURE:
                log.error("event_failed", event_id=event_id, watch=watch_id, error=result.message)

    async def _report_results(self, head: Head) -> None:
        """Reports the results of the repository's watches."""
        repository = head.repository
        owners = {watch.id: watch.owner for watch in self._watches[repository.id]}
        results = [
            WatchResult(
                event_id=event_id,
                repo_id=repo_id,
                watch_id=watch_id,
                name=owners.get(watch_id, ""),
                result=result,
                commit_url=commit_url(repository.remote, result.commit) if result.commit else "",
            )
            for (repo_id, watch_id, event_id), result in self._results.items()
            if repo_id == repository.id
        ]
        if results:
            await self._records.report_results(results)
            self._forget([(each.repo_id, each.watch_id, each.event_id) for each in results])

    async def _report_statuses(self, events: Sequence[Event]) -> None:
        """Reports the events that every watch of every repository has handled."""
        if self._watches.keys() != self._wakes.keys():
            # The watches of a repository that was not read yet are unknown.
            return
        watching: dict[str, list[tuple[str, str]]] = {}
        for repo_id, watches in self._watches.items():
            for watch in watches:
                watching.setdefault(watch.key, []).append((repo_id, watch.id))
        finished: list[tuple[str, EventResult]] = []
        reported: list[ResultKey] = []
        for event in events:
            keys = [(repo_id, watch_id, event.id) for repo_id, watch_id in watching.get(event.key, ())]
            results = [self._results[key] for key in keys if key in self._results]
            if keys and len(results) == len(keys):
                finished.append((event.id, combine_results(results)))
                reported += keys
        if finished:
            await self._records.report(finished)
            self._forget(reported)

    def _forget(self, keys: Sequence[ResultKey]) -> None:
        for key in keys:
            self._results.pop(key, None)
        self._reported.update(dict.fromkeys(keys))


def _with_place(written: Written, branch: str, remote: str) -> Written:
    """Adds the branch and the commit to the results of what changed."""
    where = commit_url(remote, written.tip) or written.tip[:7]
    places = {
        key: replace(
            written.results[key],
            message=f"{written.results[key].message} of {branch} ({where})",
            commit=written.tip,
            branch=branch,
        )
        for key in written.changed
    }
    return replace(written, results={**written.results, **places})


def _annotate(written: Written, note: str, **fields: Any) -> Written:
    """Adds a note and `fields` to the results that are no failure."""
    results = {
        key: result
        if result.outcome is EventOutcome.FAILURE
        else replace(result, **{"message": f"{result.message}; {note}", "commit": written.tip, **fields})
        for key, result in written.results.items()
    }
    return replace(written, results=results)
