"""Settings of the agent's file that this version does not support. Logged at startup by `run`."""

from collections.abc import Iterator

from pipecd.config.piped import PipedSpec


def unsupported_settings(spec: PipedSpec) -> Iterator[tuple[str, str]]:
    """Pairs of the setting's key and the consequence."""
    if spec.notifications.routes or spec.notifications.receivers:
        yield "spec.notifications", "notifications go to the agent's log only"
    if spec.event_watcher.git_repos:
        yield "spec.eventWatcher", "events are not watched"
    if spec.analysis_providers:
        yield "spec.analysisProviders", "applications with ANALYSIS stages are refused"
    if spec.chart_repositories or spec.chart_registries:
        yield "spec.chartRepositories", "charts are not rendered"
