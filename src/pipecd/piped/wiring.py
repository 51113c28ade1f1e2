"""Which part of the agent knows which: put together once, by `run`."""

import asyncio
from dataclasses import dataclass

from pipecd.client import Client
from pipecd.config.piped import PipedSpec
from pipecd.git.foreign import Foreign
from pipecd.git.mirror import Mirrors
from pipecd.piped.deploy.perform import Stageworks
from pipecd.piped.deploy.planner import Planner
from pipecd.piped.deploy.rollout import Desk
from pipecd.piped.deploy.sealed_objects import Kept
from pipecd.piped.deploy.stage_logs import Logs
from pipecd.piped.observe.desired_state import Looks
from pipecd.piped.observe.drift import Drifting
from pipecd.piped.observe.live_state import Living
from pipecd.piped.preview import Parts as PreviewParts
from pipecd.piped.preview import Previewing
from pipecd.piped.providers import Providers
from pipecd.piped.session.commands import Commands
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.report import Reports
from pipecd.piped.session.view import View
from pipecd.piped.source.checkout import Sources
from pipecd.piped.source.heads import Heads
from pipecd.piped.source.rendering import Rendering
from pipecd.piped.source.repository import Repository
from pipecd.piped.trigger.create import Creator
from pipecd.piped.trigger.discovery import Discovery
from pipecd.piped.trigger.loop import Triggering
from pipecd.telemetry import redactor


@dataclass(frozen=True, kw_only=True)
class Parts:
    desk: Desk
    triggering: Triggering
    discovery: Discovery
    answering: Commands
    previewing: Previewing
    drifting: Drifting
    living: Living
    #: Set once a person asked for a restart.
    restart: asyncio.Event


def assembled(
    spec: PipedSpec, client: Client, mirrors: Mirrors, foreign: Foreign, kept: Kept, rendering: Rendering
) -> Parts:
    """Nothing runs yet."""
    repositories = {
        one.repo_id: Repository(id=one.repo_id, remote=one.remote, branch=one.branch)
        for one in spec.repositories
    }
    view, leadership, reports = View(client), Leadership(), Reports(client, redactor)
    heads, sources = Heads(mirrors, repositories), Sources(mirrors, repositories, rendering)
    providers, restart = Providers(spec), asyncio.Event()
    looks = Looks(heads, sources, providers, redactor.text)
    works = Stageworks(
        sources=sources, foreign=foreign, logs=Logs(client, redactor), providers=providers, kept=kept
    )
    return Parts(
        desk=Desk(
            view=view,
            leadership=leadership,
            reports=reports,
            planner=Planner(sources, reports, providers),
            works=works,
        ),
        triggering=Triggering(
            view,
            leadership,
            reports,
            heads,
            Creator(reports, view),
            spec.sync_interval.total_seconds(),
        ),
        discovery=Discovery(client, spec, view, leadership, heads),
        answering=Commands(view, leadership, reports, restart),
        previewing=Previewing(
            PreviewParts(
                view=view,
                leadership=leadership,
                reports=reports,
                sources=sources,
                providers=providers,
                clean=redactor.text,
            ),
            spec.plan_preview,
        ),
        drifting=Drifting(view, leadership, reports, looks, providers),
        living=Living(view, leadership, client, looks, redactor.text),
        restart=restart,
    )
