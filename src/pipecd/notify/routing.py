"""Which receivers get an event, by the routes of the agent's file. Pure."""

from collections.abc import Mapping, Sequence

from pipecd.config.notifications import Route
from pipecd.model.application import Application
from pipecd.model.deployment import Deployment
from pipecd.model.notification import NotificationEvent


def receivers_of(event: NotificationEvent, routes: Sequence[Route]) -> Sequence[str]:
    """The names of the receivers, each once, in the order of the routes."""
    return list(dict.fromkeys(route.receiver for route in routes if matches(route, event)))


def matches(route: Route, event: NotificationEvent) -> bool:
    """Exclusions first; then everything that the route lists has to apply.

    Names and labels of applications do not restrict events without an application, such as PIPED_STARTED.
    """
    subject = application_of(event)
    if event.name in route.ignore_events or event.group.value in route.ignore_groups:
        return False
    if route.events and event.name not in route.events:
        return False
    if route.groups and event.group.value not in route.groups:
        return False
    if subject is None:
        return True
    name, kind, labels = subject
    if name in route.ignore_apps or kind in route.ignore_kinds or _any(route.ignore_labels, labels):
        return False
    return (
        (not route.apps or name in route.apps)
        and (not route.kinds or kind in route.kinds)
        and all(labels.get(key) == value for key, value in route.labels.items())
    )


def _any(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """A label that is absent does not equal an empty one."""
    return any(labels.get(key) == value for key, value in wanted.items())


def application_of(event: NotificationEvent) -> tuple[str, str, Mapping[str, str]] | None:
    """Name, kind and labels of the application that the event is about."""
    match getattr(event, "deployment", None) or getattr(event, "application", None):
        case Deployment() as deployment:
            return deployment.application_name, deployment.kind, deployment.labels
        case Application() as application:
            return application.name, application.kind, application.labels
        case _:
            return None
