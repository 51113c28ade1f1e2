// Formats times and durations. The schema counts whole seconds since 1970; 0 means never.

const UNITS: readonly [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "long" });
const absolute = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const clockTime = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long", year: "numeric" });

export function formatRelative(seconds: number, now: number): string {
  const difference = seconds - now;
  const distance = Math.abs(difference);
  if (distance < 10) return "just now";
  if (distance < 60) return relative.format(Math.round(difference), "second");
  const [unit, unitSeconds] = UNITS.find(([, unitSeconds]) => distance >= unitSeconds) ?? ["minute", 60];
  return relative.format(Math.trunc(difference / unitSeconds), unit);
}

/** The two largest units: `1 h 4 min`, `3 min 20 s`, `12 s`. */
export function formatDuration(seconds: number): string {
  const wholeSeconds = Math.max(0, Math.round(seconds));
  const parts: [number, string][] = [
    [Math.floor(wholeSeconds / 86_400), "d"],
    [Math.floor(wholeSeconds / 3_600) % 24, "h"],
    [Math.floor(wholeSeconds / 60) % 60, "min"],
    [wholeSeconds % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(" ");
}

const AGE_UNITS: readonly [string, number][] = [
  ["y", 31_536_000],
  ["d", 86_400],
  ["h", 3_600],
  ["m", 60],
];

/** The age as kubectl prints it, in its largest unit: `2y`, `3d`, `5h`, `12m`, `40s`. */
export function formatAge(seconds: number): string {
  const [unit, unitSeconds] = AGE_UNITS.find(([, length]) => seconds >= length) ?? ["s", 1];
  return `${Math.max(0, Math.floor(seconds / unitSeconds))}${unit}`;
}

export const formatDateTime = (seconds: number): string => absolute.format(seconds * 1000);
export const formatDay = (seconds: number): string => day.format(seconds * 1000);
export const formatTime = (seconds: number): string => clockTime.format(seconds * 1000);
