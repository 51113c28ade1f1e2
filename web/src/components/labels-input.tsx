// A field for labels. A text that is no label stays in it, with an error: only labels are reported.

import { TagsInput, type TagsInputProps } from "@mantine/core";
import { useState } from "react";

import { isLabel } from "../filters";

interface LabelsInputProps extends Omit<TagsInputProps, "value" | "onChange" | "error"> {
  /** Labels such as `env:prod`. */
  value: string[];
  onChange: (labels: string[]) => void;
  error?: string | undefined;
}

export function LabelsInput({ value, onChange, error, ...input }: LabelsInputProps) {
  const [others, setOthers] = useState<string[]>([]);
  const change = (texts: string[]) => {
    setOthers(texts.filter((text) => !isLabel(text)));
    const labels = texts.filter(isLabel);
    if (labels.join("\n") !== value.join("\n")) onChange(labels);
  };
  const problem = others[0] === undefined ? error : `“${others[0]}” is not a label. Write key:value, such as env:prod.`;
  return <TagsInput {...input} value={[...value, ...others]} onChange={change} error={problem} />;
}
