// A filter of which several values may be chosen; the choice stands in the address.

import { MultiSelect, TagsInput } from "@mantine/core";

import { isLabel } from "../filters";

interface ChoicesProps {
  label: string;
  options: { value: string; label: string }[];
  chosen: string[];
  onChoose: (values: string[]) => void;
}

export function Choices({ label, options, chosen, onChoose }: ChoicesProps) {
  return (
    <MultiSelect
      aria-label={label}
      placeholder={chosen.length > 0 ? undefined : label}
      data={options}
      value={chosen}
      onChange={onChoose}
      clearable
      hidePickedOptions
      clearButtonProps={{ "aria-label": `Clear ${label.toLowerCase()}` }}
      style={{ flex: "1 1 170px", maxWidth: 320 }}
    />
  );
}

interface LabelChoicesProps {
  chosen: string[];
  onChoose: (values: string[]) => void;
}

export function LabelChoices({ chosen, onChoose }: LabelChoicesProps) {
  return (
    <TagsInput
      aria-label="Labels, written key:value"
      placeholder={chosen.length > 0 ? undefined : "Labels (key:value)"}
      value={chosen}
      onChange={(values) => onChoose(values.filter(isLabel))}
      clearable
      style={{ flex: "1 1 170px", maxWidth: 320 }}
    />
  );
}
