"""What the agent's file asks for and this version does not do: said at the start, not found out later."""

from collections.abc import Iterator

from pipecd.config.piped import PipedSpec


def unserved(spec: PipedSpec) -> Iterator[tuple[str, str]]:
    """The key, and what that means for who wrote it."""
    if spec.notifications.routes or spec.notifications.receivers:
        yield "spec.notifications", "notifications go to the agent's log only"
    if spec.event_watcher.git_repos:
        yield "spec.eventWatcher", "events are not watched"
    if spec.analysis_providers:
        yield "spec.analysisProviders", "ANALYSIS stages are refused"
    if spec.chart_repositories or spec.chart_registries:
        yield "spec.chartRepositories", "charts are not rendered"
