// A search field that reports its text, without the white space around it, shortly after the last key press.

import { CloseButton, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { IconSearch } from "../icons";
import { useEffect, useRef, useState } from "react";

export const DEBOUNCE_MS = 250;

interface SearchFieldProps {
  label: string;
  value: string;
  onSearch: (text: string) => void;
}

export function SearchField({ label, value, onSearch }: SearchFieldProps) {
  const [typed, change] = useTypedText(value, onSearch);
  return (
    <TextInput
      type="search"
      aria-label={label}
      placeholder={label}
      value={typed}
      onChange={(event) => change(event.currentTarget.value)}
      leftSection={<IconSearch size={16} aria-hidden />}
      rightSection={typed && <CloseButton size="sm" aria-label="Clear search" onClick={() => change("")} />}
      style={{ flex: "3 1 220px" }}
    />
  );
}

/**
 * The text of the field, and how to change it. `value` follows what was reported with a delay: the URL changes in a
 * transition, and several reports may be on their way. Only a value that was not reported replaces the text, such as
 * that of another entry of the history, or none after "Clear filters".
 */
function useTypedText(value: string, onSearch: (text: string) => void): [string, (text: string) => void] {
  const [typed, setTyped] = useState(value);
  /** Reported texts that `value` has not had yet, oldest first. */
  const reported = useRef<string[]>([]);
  const report = useDebouncedCallback((text: string) => {
    const search = text.trim();
    if (search === (reported.current.at(-1) ?? value)) return;
    reported.current.push(search);
    onSearch(search);
  }, DEBOUNCE_MS);
  const isFirst = useRef(true);
  useEffect(() => {
    if (isFirst.current) {
      isFirst.current = false;
      return;
    }
    const index = reported.current.lastIndexOf(value);
    if (index >= 0) {
      // A report that follows another one closely may replace it before it is a value.
      reported.current = reported.current.slice(index + 1);
      return;
    }
    reported.current = [];
    report.cancel();
    setTyped(value);
  }, [value, report]);
  const change = (text: string) => {
    setTyped(text);
    report(text);
  };
  return [typed, change];
}
