// A status at a glance: icon, colour and word. The word is always there, be it for the eye or the ear.

import { VisuallyHidden } from "@mantine/core";
import {
  IconAlertTriangle,
  IconCircleCheck,
  IconCircleDashed,
  IconCircleX,
  IconClock,
  IconLoader2,
} from "@tabler/icons-react";

import type { Tone, Word } from "../words";
import classes from "./status.module.css";

const ICONS: Record<Tone, typeof IconClock> = {
  good: IconCircleCheck,
  bad: IconCircleX,
  busy: IconLoader2,
  waiting: IconClock,
  warning: IconAlertTriangle,
  quiet: IconCircleDashed,
};

interface StatusIconProps {
  word: Word;
  size?: number;
}

/** For places where the word stands elsewhere or would crowd: it is still read out. */
export function StatusIcon({ word, size = 18 }: StatusIconProps) {
  const Icon = ICONS[word.tone];
  return (
    <span className={classes.icon} data-tone={word.tone} title={word.text}>
      <Icon size={size} aria-hidden stroke={2} />
      <VisuallyHidden>{word.text}</VisuallyHidden>
    </span>
  );
}

export function StatusBadge({ word, size = 15 }: StatusIconProps) {
  const Icon = ICONS[word.tone];
  return (
    <span className={classes.badge} data-tone={word.tone}>
      <Icon size={size} aria-hidden stroke={2.2} />
      {word.text}
    </span>
  );
}
