"""Constructs the agent's components and connects them. Called once, by `run`."""

import asyncio
from dataclasses import dataclass

from pipecd import analysis
from pipecd.client import Client
from pipecd.config.piped import PipedSpec
from pipecd.git.forge import Forges
from pipecd.git.mirror import Mirrors
from pipecd.git.other_repositories import OtherRepositories
from pipecd.model.application import Application
from pipecd.model.downloads import Downloads
from pipecd.piped.credentials import forge_hosts
from pipecd.piped.deploy.call_slots import CallSlots
from pipecd.piped.deploy.perform import StageServices
from pipecd.piped.deploy.planner import Planner
from pipecd.piped.deploy.rollout import RolloutServices
from pipecd.piped.deploy.sealed_objects import EncryptedObjects
from pipecd.piped.deploy.stage_logs import StageLogs
from pipecd.piped.events.records import EventRecords
from pipecd.piped.events.watcher import EventWatcher
from pipecd.piped.notify.event_log import write_to_log
from pipecd.piped.notify.notifier import Notifier
from pipecd.piped.notify.receivers import Receivers
from pipecd.piped.notify.reports import ReceiverReports
from pipecd.piped.observe.desired_state import ObservationRequests
from pipecd.piped.observe.details import ResourceRequests
from pipecd.piped.observe.drift import DriftDetector
from pipecd.piped.observe.live_state import LiveStateReporter
from pipecd.piped.observe.watches import PlatformWatches
from pipecd.piped.options import Options
from pipecd.piped.preview import PlanPreviewLoop, PreviewServices
from pipecd.piped.providers import Providers
from pipecd.piped.self_healing import SelfHealing
from pipecd.piped.session.commands import CommandResponder
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.report import Reporter
from pipecd.piped.session.sync_states import SyncStates
from pipecd.piped.session.view import View
from pipecd.piped.source.checkout import Sources
from pipecd.piped.source.heads import Heads
from pipecd.piped.source.rendering import Renderer
from pipecd.piped.source.repository import Repository
from pipecd.piped.trigger.config_status import ConfigStatus
from pipecd.piped.trigger.create import DeploymentCreator
from pipecd.piped.trigger.discovery import Discovery
from pipecd.piped.trigger.loop import TriggerLoop
from pipecd.telemetry import redactor


@dataclass(frozen=True, kw_only=True)
class Components:
    rollout_services: RolloutServices
    trigger_loop: TriggerLoop
    discovery: Discovery
    command_responder: CommandResponder
    plan_preview_loop: PlanPreviewLoop
    drift_detector: DriftDetector
    live_state_reporter: LiveStateReporter
    platform_watches: PlatformWatches
    resource_requests: ResourceRequests
    event_watcher: EventWatcher
    notifier: Notifier
    receiver_reports: ReceiverReports
    #: Set when a user requests a restart.
    restart: asyncio.Event


def build_components(
    spec: PipedSpec,
    options: Options,
    client: Client,
    mirrors: Mirrors,
    other_repositories: OtherRepositories,
    encrypted_objects: EncryptedObjects,
    renderer: Renderer,
    downloads: Downloads,
    providers: Providers,
    receivers: Receivers | None,
    web_address: str,
) -> Components:
    """Constructs the components without starting any."""
    clock, settings = options.clock, options.settings
    repositories = {
        repository.repo_id: Repository(
            id=repository.repo_id, remote=repository.remote, branch=repository.branch
        )
        for repository in spec.repositories
    }
    view, leadership, reporter = View(client, clock), Leadership(), Reporter(client, redactor, clock)
    heads = Heads(mirrors, repositories, clock)
    sources = Sources(mirrors, repositories, renderer, downloads)
    restart = asyncio.Event()
    notifier = Notifier({"log": write_to_log}, redactor.text, clock, settings.notifier, receivers)
    receiver_reports = ReceiverReports(client, spec, web_address, receivers, leadership, redactor.text, clock)
    sync_states, self_healing = SyncStates(reporter, clock, notifier), SelfHealing(clock)
    observation_requests = ObservationRequests(
        heads, sources, providers, redactor.text, clock, settings.desired_states
    )
    analysis_providers = analysis.Providers(spec)
    stage_services = StageServices(
        sources=sources,
        other_repositories=other_repositories,
        logs=StageLogs(client, redactor, clock, settings.stage_logs),
        providers=providers,
        encrypted_objects=encrypted_objects,
        analysis=analysis_providers,
        clock=clock,
        settings=settings.stages,
        call_slots=CallSlots(settings.stages.max_calls_per_provider),
        notify=notifier,
    )
    drift_detector = DriftDetector(
        view,
        leadership,
        sync_states,
        observation_requests,
        providers,
        self_healing,
        clock,
        settings.drift,
    )
    live_state_reporter = LiveStateReporter(
        view,
        leadership,
        client,
        observation_requests,
        redactor.text,
        clock,
        notifier,
        settings.live_state,
    )

    def on_platform_change(application: Application) -> None:
        observation_requests.mark_changed(application)
        live_state_reporter.check_soon(application)
        drift_detector.check_soon(application)

    trigger_loop = TriggerLoop(
        view,
        leadership,
        reporter,
        heads,
        DeploymentCreator(reporter, view, clock, notifier),
        ConfigStatus(sync_states, view, clock, notifier),
        self_healing,
        clock,
        notifier,
        spec.sync_interval.total_seconds(),
        settings.trigger,
    )

    return Components(
        rollout_services=RolloutServices(
            view=view,
            leadership=leadership,
            reporter=reporter,
            sync_states=sync_states,
            planner=Planner(sources, reporter, providers, analysis_providers),
            stage_services=stage_services,
            clock=clock,
            settings=settings.rollout,
            notify=notifier,
        ),
        trigger_loop=trigger_loop,
        discovery=Discovery(client, spec, view, leadership, heads, redactor.text),
        command_responder=CommandResponder(view, leadership, reporter, restart),
        plan_preview_loop=PlanPreviewLoop(
            PreviewServices(
                view=view,
                leadership=leadership,
                reporter=reporter,
                sources=sources,
                providers=providers,
                analysis=analysis_providers,
                redact=redactor.text,
                clock=clock,
            ),
            spec.plan_preview,
        ),
        drift_detector=drift_detector,
        live_state_reporter=live_state_reporter,
        platform_watches=PlatformWatches(
            view, leadership, providers, on_platform_change, clock, settings.platform_watches
        ),
        resource_requests=ResourceRequests(
            view,
            client,
            observation_requests,
            redactor.text,
            clock,
            settings.resource_requests,
            receiver_reports.test,
        ),
        event_watcher=EventWatcher(
            EventRecords(client, clock, spec.piped_id),
            mirrors,
            heads,
            view,
            leadership,
            clock,
            spec.event_watcher,
            trigger_loop.schedule_check,
            settings.events,
            Forges(forge_hosts(spec, redactor.add), clock),
        ),
        notifier=notifier,
        receiver_reports=receiver_reports,
        restart=restart,
    )
