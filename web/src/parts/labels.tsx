// Labels of an application or deployment, as chips that lead to everything with the same label.

import { Group } from "@mantine/core";
import { Link } from "react-router";

import classes from "./labels.module.css";

interface LabelsProps {
  labels: Record<string, string>;
  /** The list the chips lead to. */
  list?: "/applications" | "/deployments";
}

export function Labels({ labels, list = "/applications" }: LabelsProps) {
  const pairs = Object.entries(labels).toSorted(([one], [other]) => one.localeCompare(other));
  if (pairs.length === 0) return null;
  return (
    <Group gap={4}>
      {pairs.map(([name, value]) => (
        <Link
          key={name}
          to={`${list}?label=${encodeURIComponent(`${name}:${value}`)}`}
          className={classes.label}
          aria-label={`Everything labelled ${name}:${value}`}
        >
          {name}:{value}
        </Link>
      ))}
    </Group>
  );
}
