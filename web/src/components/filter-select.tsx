// Filters with several selectable values.

import { MultiSelect } from "@mantine/core";

import { LabelsInput } from "./labels-input";

interface FilterSelectProps {
  label: string;
  options: { value: string; label: string }[];
  selected: string[];
  onChange: (values: string[]) => void;
}

export function FilterSelect({ label, options, selected, onChange }: FilterSelectProps) {
  return (
    <MultiSelect
      aria-label={label}
      placeholder={selected.length > 0 ? undefined : label}
      data={options}
      value={selected}
      onChange={onChange}
      clearable
      clearSectionMode="clear"
      hidePickedOptions
      clearButtonProps={{ "aria-label": `Clear ${label.toLowerCase()}` }}
      // Several names beside one another are readable.
      style={{ flex: selected.length > 1 ? "2 1 280px" : "1 1 160px", minWidth: 0 }}
    />
  );
}

interface LabelFilterProps {
  selected: string[];
  onChange: (values: string[]) => void;
}

export function LabelFilter({ selected, onChange }: LabelFilterProps) {
  return (
    <LabelsInput
      aria-label="Labels (key:value)"
      placeholder={selected.length > 0 ? undefined : "Labels (key:value)"}
      value={selected}
      onChange={onChange}
      clearable
      style={{ flex: "1 1 160px", minWidth: 0 }}
    />
  );
}
