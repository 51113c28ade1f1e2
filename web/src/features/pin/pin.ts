// Pins: an application that was rolled back is kept at a commit until the pin is removed or its time has come.

import type { Application } from "../../schema/model/application_pb";
import type { Piped } from "../../schema/model/piped_pb";
import type { ApplicationPin } from "../../schema/pipecd/v1/pin_pb";

/** The pin that holds new commits at `now` (seconds since 1970); null if there is none, or its time has come. */
export function activePin(application: Pick<Application, "pin">, now: number): ApplicationPin | null {
  const { pin } = application;
  return pin && (pin.until === 0n || now < Number(pin.until)) ? pin : null;
}

/** Why the newest commit of the application cannot be deployed at `now`, as a sentence; empty if it can. */
export function syncObstacle(application: Pick<Application, "pin" | "disabled">, now: number): string {
  if (application.disabled) return "The application is disabled: enable it to deploy the newest commit.";
  return activePin(application, now) ? "The application is pinned: remove the pin to deploy the newest commit." : "";
}

/** Of a connected agent that is PipeCD's: it deploys only the newest commit. */
export function canRollBack(piped: Pick<Piped, "version" | "package"> | undefined): boolean {
  return !piped?.version || piped.package === "pipecd";
}

/** How long a pin lasts, in seconds; 0 means until it is removed. */
export const PIN_LIFETIMES: readonly { label: string; seconds: number }[] = [
  { label: "Until removed", seconds: 0 },
  { label: "1 hour", seconds: 3_600 },
  { label: "4 hours", seconds: 14_400 },
  { label: "1 day", seconds: 86_400 },
  { label: "1 week", seconds: 604_800 },
];
