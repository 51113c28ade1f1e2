// The details of a record as a list of names and values.

import type { ReactNode } from "react";

import classes from "./detail-list.module.css";

interface DetailListProps {
  /** Name and value of each item. An item without a value is omitted. */
  items: [string, ReactNode][];
}

export function DetailList({ items }: DetailListProps) {
  const shown = items.filter(([, value]) => Boolean(value));
  if (shown.length === 0) return null;
  return (
    <dl className={classes.list}>
      {shown.map(([name, value]) => (
        <div key={name} className={classes.item}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
