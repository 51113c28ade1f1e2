// A search field that reports its text shortly after the last key press.

import { CloseButton, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { IconSearch } from "../icons";
import { useState } from "react";

const DEBOUNCE_MS = 250;

interface SearchFieldProps {
  label: string;
  value: string;
  onSearch: (text: string) => void;
}

export function SearchField({ label, value, onSearch }: SearchFieldProps) {
  const [typed, setTyped] = useState(value);
  const [appliedValue, setAppliedValue] = useState(value);
  if (appliedValue !== value) {
    // The URL was changed elsewhere: back, forward, "Clear filters".
    setAppliedValue(value);
    setTyped(value);
  }
  const search = useDebouncedCallback((text: string) => {
    setAppliedValue(text);
    onSearch(text);
  }, DEBOUNCE_MS);
  const change = (text: string) => {
    setTyped(text);
    search(text);
  };
  return (
    <TextInput
      type="search"
      aria-label={label}
      placeholder={label}
      value={typed}
      onChange={(event) => change(event.currentTarget.value)}
      leftSection={<IconSearch size={16} aria-hidden />}
      rightSection={typed && <CloseButton size="sm" aria-label="Clear search" onClick={() => change("")} />}
      style={{ flex: "1 1 220px" }}
    />
  );
}
