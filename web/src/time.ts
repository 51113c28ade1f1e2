// Moments and spans as people say them. The schema counts whole seconds since 1970; 0 means never.

const UNITS: readonly [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "long" });
const absolute = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long", year: "numeric" });

export function ago(seconds: number, now: number): string {
  const difference = seconds - now;
  const size = Math.abs(difference);
  if (size < 10) return "just now";
  if (size < 60) return relative.format(Math.round(difference), "second");
  const [unit, length] = UNITS.find(([, span]) => size >= span) ?? ["minute", 60];
  return relative.format(Math.trunc(difference / length), unit);
}

/** `1 h 4 min`, `3 min 20 s`, `12 s`: the two greatest units. */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const parts: [number, string][] = [
    [Math.floor(whole / 86_400), "d"],
    [Math.floor(whole / 3_600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(" ");
}

export const moment = (seconds: number): string => absolute.format(seconds * 1000);
export const timeOfDay = (seconds: number): string => clock.format(seconds * 1000);
export const dayOf = (seconds: number): string => day.format(seconds * 1000);
