// Fields of filters. They are rendered only if what they show changed: with each key and each page of a list the address
// changes, and fields take longer to render than the list.

import { MultiSelect, Select, type SelectProps } from "@mantine/core";
import { useCallbackRef } from "@mantine/hooks";
import { hashKey } from "@tanstack/react-query";
import { memo } from "react";

import { LabelsInput } from "./labels-input";

/** Whether two sets of properties show the same. Functions must be the same ones. */
function showsSame(before: object, after: object): boolean {
  const entries = Object.entries(after);
  return (
    entries.length === Object.keys(before).length &&
    entries.every(([name, value]: [string, unknown]) => {
      const previous = (before as Record<string, unknown>)[name];
      return Object.is(previous, value) || (typeof value === "object" && hashKey([previous]) === hashKey([value]));
    })
  );
}

interface FilterSelectProps {
  label: string;
  options: { value: string; label: string }[];
  selected: string[];
  onChange: (values: string[]) => void;
}

/** With several selectable values. */
export function FilterSelect({ onChange, ...shown }: FilterSelectProps) {
  return <MultipleField {...shown} onChange={useCallbackRef(onChange)} />;
}

const MultipleField = memo(function MultipleField({ label, options, selected, onChange }: FilterSelectProps) {
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
}, showsSame);

interface FilterChoiceProps extends Pick<SelectProps, "aria-label" | "placeholder" | "style"> {
  data: { value: string; label: string }[];
  value: string | null;
  onChange: (value: string | null) => void;
}

/** With one selectable value, or none. */
export function FilterChoice({ onChange, ...shown }: FilterChoiceProps) {
  return <ChoiceField {...shown} onChange={useCallbackRef(onChange)} />;
}

const ChoiceField = memo(function ChoiceField(props: FilterChoiceProps) {
  return <Select {...props} clearable />;
}, showsSame);

interface LabelFilterProps {
  selected: string[];
  onChange: (values: string[]) => void;
}

export function LabelFilter({ onChange, ...shown }: LabelFilterProps) {
  return <LabelField {...shown} onChange={useCallbackRef(onChange)} />;
}

const LabelField = memo(function LabelField({ selected, onChange }: LabelFilterProps) {
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
}, showsSame);
