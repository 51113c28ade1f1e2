// What the browser notifies a user about: approvals that they may give, and ends of deployments that concern them.

import { awaitsApprovalOf } from "../../attention";
import { deploymentStatusDisplay, isDeploymentCompleted } from "../../display-names";
import { describeFailure } from "../../failure";
import type { May } from "../../rights";
import { type Deployment, DeploymentStatus } from "../../schema/model/deployment_pb";
import { canApprove } from "../../stages";

/** What a user wants to be notified about, in this browser and project. */
export interface NoticeSettings {
  approvals: boolean;
  /** Ends of deployments that the user triggered: with a command, or with their commit. */
  own: boolean;
  /** Ends of deployments of favourite applications. */
  favourites: boolean;
}

export const ALL_NOTICES: NoticeSettings = { approvals: true, own: true, favourites: true };

/** Anything but an object means that notifications are off. */
export function parseSettings(text: string | undefined): NoticeSettings | null {
  try {
    const stored: unknown = JSON.parse(text ?? "null");
    if (typeof stored !== "object" || stored === null || Array.isArray(stored)) return null;
    const { approvals, own, favourites }: Record<keyof NoticeSettings, unknown> = { ...ALL_NOTICES, ...stored };
    return { approvals: approvals === true, own: own === true, favourites: favourites === true };
  } catch {
    return null;
  }
}

export interface Audience {
  settings: NoticeSettings;
  /** The signed-in user. */
  user: string;
  favouriteIds: ReadonlySet<string>;
}

export interface Notice {
  /** The same event has the same ID in every tab. */
  id: string;
  title: string;
  body: string;
  /** Path of the page to open. */
  to: string;
}

/** The state of a deployment that notices are about: the stage that waits for the user, how it ended, or empty. */
function noticeState(deployment: Deployment, user: string, may: May): string {
  if (isDeploymentCompleted(deployment.status)) return `ended ${String(deployment.status)}`;
  return awaitsApprovalOf(deployment, user, may) ? `waiting ${deployment.stages.find(canApprove)?.id ?? ""}` : "";
}

/** Whether the user triggered it. A commit's author is a name, an e-mail address, or both. */
export function isOwn({ trigger }: Deployment, user: string): boolean {
  if (!user || !trigger) return false;
  if (trigger.commander) return trigger.commander === user;
  const author = trigger.commit?.author ?? "";
  const [, name, address] = /^(.*?)\s*<([^>]*)>$/.exec(author) ?? ["", author, ""];
  return [name, address].includes(user);
}

function concerns(deployment: Deployment, { settings, user, favouriteIds }: Audience): boolean {
  if (!isDeploymentCompleted(deployment.status)) return settings.approvals;
  return (settings.own && isOwn(deployment, user)) || (settings.favourites && favouriteIds.has(deployment.applicationId));
}

function describe(deployment: Deployment, state: string): Notice {
  const { id, applicationName: name } = deployment;
  const commit = deployment.trigger?.commit?.message.split("\n")[0] ?? "";
  const stage = deployment.stages.find(canApprove);
  const notice = { id: `${id} ${state}`, to: `/deployments/${id}` };
  if (!isDeploymentCompleted(deployment.status)) {
    const to = `${notice.to}?stage=${encodeURIComponent(stage?.id ?? "")}`;
    return { ...notice, to, title: `${name} waits for your approval`, body: commit };
  }
  const succeeded = deployment.status === DeploymentStatus.DEPLOYMENT_SUCCESS;
  const status = deploymentStatusDisplay(deployment.status).text.toLowerCase();
  const title = succeeded ? `${name} was deployed` : `Deployment of ${name} ${status}`;
  return { ...notice, title, body: succeeded ? commit : (describeFailure(deployment)?.sentence ?? commit) };
}

/** More states than this are reduced to those of deployments that are listed or have not ended. */
const MAX_STATES = 5_000;

/** More notices than this of other tabs are not remembered. */
const MAX_SHOWN = 1_000;

/**
 * Remembers the states of deployments, finds what changed, and which notices of it no tab has shown.
 *
 * Every tab has one, since the tab that shows notices may be closed before it has shown one.
 */
export class NoticeTracker {
  readonly #states = new Map<string, string>();
  /** By the ID of the deployment. */
  readonly #pending = new Map<string, Notice>();
  /** The IDs of notices that another tab has shown, which this one may find later. */
  readonly #shown = new Set<string>();

  /** `since` is when it began to watch, in seconds since 1970: what was so before is not news. */
  constructor(private readonly since: number) {}

  /**
   * Finds what has changed since the last call, for an audience. Without an audience, only remembers the states. Approvals
   * are those that the rights of the user include.
   */
  update(deployments: readonly Deployment[], user: string, may: May, audience: Audience | null): void {
    for (const deployment of deployments) {
      const { id } = deployment;
      const state = noticeState(deployment, user, may);
      const isNew = Number(deployment.createdAt) >= this.since;
      const before = this.#states.get(id) ?? (isNew ? "" : state);
      this.#states.set(id, state);
      if (state === before) continue;
      // A notice about an earlier state is out of date.
      this.#pending.delete(id);
      if (!state || !audience || !concerns(deployment, audience)) continue;
      const notice = describe(deployment, state);
      if (!this.#shown.delete(notice.id)) this.#pending.set(id, notice);
    }
  }

  /** The notices that no tab has shown. They are not returned again. */
  take(): Notice[] {
    const notices = [...this.#pending.values()];
    this.#pending.clear();
    return notices;
  }

  /** Another tab has shown the notice with this ID. */
  shownElsewhere(noticeId: string): void {
    for (const [id, notice] of this.#pending) {
      if (notice.id === noticeId) {
        this.#pending.delete(id);
        return;
      }
    }
    this.#shown.add(noticeId);
    const [oldest] = this.#shown;
    if (oldest !== undefined && this.#shown.size > MAX_SHOWN) this.#shown.delete(oldest);
  }

  /** The IDs of deployments that had not ended and are not among `deployments`: they must be loaded one by one. */
  missing(deployments: readonly Deployment[]): string[] {
    const present = new Set(deployments.map(({ id }) => id));
    if (this.#states.size > MAX_STATES) {
      for (const [id, state] of this.#states) if (state.startsWith("ended") && !present.has(id)) this.#states.delete(id);
    }
    return [...this.#states].filter(([id, state]) => !state.startsWith("ended") && !present.has(id)).map(([id]) => id);
  }

  forget(id: string): void {
    this.#states.delete(id);
    this.#pending.delete(id);
  }
}
