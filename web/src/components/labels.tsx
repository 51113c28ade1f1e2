// The labels of an application or deployment. Each links to a list filtered by the label.

import { RowLink } from "./row-link";
import classes from "./labels.module.css";

interface LabelsProps {
  labels: Record<string, string>;
  /** The list that the labels link to. */
  list?: "/applications" | "/deployments" | "/events";
}

export function Labels({ labels, list = "/applications" }: LabelsProps) {
  const pairs = Object.entries(labels).toSorted(([a], [b]) => a.localeCompare(b));
  if (pairs.length === 0) return null;
  return (
    <div className={classes.labels}>
      {pairs.map(([name, value]) => (
        <RowLink
          key={name}
          to={`${list}?label=${encodeURIComponent(`${name}:${value}`)}`}
          className={classes.label}
          title={`${name}:${value}`}
          aria-label={`Filter by label ${name}:${value}`}
        >
          {name}:{value}
        </RowLink>
      ))}
    </div>
  );
}
