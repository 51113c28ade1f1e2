// Names and values beside each other: what is known about the thing a page shows.

import type { ReactNode } from "react";

import classes from "./facts.module.css";

interface FactsProps {
  /** A fact without a value is left out. */
  facts: [string, ReactNode][];
}

export function Facts({ facts }: FactsProps) {
  return (
    <dl className={classes.facts}>
      {facts
        .filter(([, value]) => Boolean(value))
        .map(([name, value]) => (
          <div key={name} className={classes.fact}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}
