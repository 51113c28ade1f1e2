// How long a new key is valid, and when a key expires.

import { NativeSelect, Text } from "@mantine/core";

import { RelativeTime, useNow } from "./time";

const DAY_SECONDS = 24 * 3600;
/** Days, by the value of the field. 0 asks for the longest lifetime that the control plane allows. */
const LIFETIMES = [
  { value: "30", label: "30 days" },
  { value: "90", label: "90 days" },
  { value: "365", label: "1 year" },
  { value: "0", label: "As long as the control plane allows" },
];
export const DEFAULT_LIFETIME = "365";

export const lifetimeSeconds = (days: string): bigint => BigInt(Number(days) * DAY_SECONDS);

interface KeyLifetimeFieldProps {
  value: string;
  onChange: (value: string) => void;
  error?: string | undefined;
}

export function KeyLifetimeField({ value, onChange, error }: KeyLifetimeFieldProps) {
  return (
    <NativeSelect
      label="Valid for"
      description="Without a limit in the control plane’s configuration, the last choice never expires."
      data={LIFETIMES}
      value={value}
      error={error}
      onChange={(event) => onChange(event.currentTarget.value)}
    />
  );
}

/** `at` is in seconds since 1970; 0 means never. */
export function KeyExpiry({ at }: { at: bigint }) {
  const now = useNow();
  if (at !== 0n && Number(at) <= now) {
    return (
      <Text span size="sm" c="red">
        Expired
      </Text>
    );
  }
  return <RelativeTime at={at} />;
}
