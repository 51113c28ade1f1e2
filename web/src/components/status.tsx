// A status as icon, colour and text. The text is always present, if only for screen readers.

import {
  IconAlertTriangle,
  IconCircleCheck,
  IconCircleDashed,
  IconCircleX,
  IconClock,
  IconLoader,
} from "../icons";

import type { StatusDisplay, Tone } from "../display-names";
import classes from "./status.module.css";

const ICONS: Record<Tone, typeof IconClock> = {
  good: IconCircleCheck,
  bad: IconCircleX,
  busy: IconLoader,
  waiting: IconClock,
  warning: IconAlertTriangle,
  quiet: IconCircleDashed,
};

interface StatusIconProps {
  status: StatusDisplay;
  size?: number;
}

/** Only the icon is visible; the text is in the tooltip and for screen readers. */
export function StatusIcon({ status, size = 18 }: StatusIconProps) {
  const Icon = ICONS[status.tone];
  return (
    <span className={classes.icon} data-tone={status.tone} title={status.text}>
      <Icon size={size} aria-hidden stroke={2} />
      <span className="visually-hidden">{status.text}</span>
    </span>
  );
}

export function StatusBadge({ status, size = 15 }: StatusIconProps) {
  const Icon = ICONS[status.tone];
  return (
    <span className={classes.badge} data-tone={status.tone}>
      <Icon size={size} aria-hidden stroke={2.2} />
      {status.text}
    </span>
  );
}
