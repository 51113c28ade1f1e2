// The shares of the traffic and the replicas of each variant, as a deployment moves them.

import type { VariantFigure } from "../stages";
import classes from "./variant-figures.module.css";

export function VariantFigures({ figures }: { figures: readonly VariantFigure[] }) {
  if (figures.length === 0) return null;
  const shares = figures.filter(({ share }) => share > 0);
  return (
    <div className={classes.figures} role="group" aria-label="Variants">
      {shares.length > 0 && (
        <div className={classes.bar} aria-hidden>
          {shares.map(({ name, share }) => (
            <span key={name} data-variant={name} style={{ flexBasis: `${share}%` }} />
          ))}
        </div>
      )}
      <ul role="list" className={classes.legend}>
        {figures.map((figure) => (
          <li key={figure.name} data-variant={figure.name}>
            {describe(figure)}
          </li>
        ))}
      </ul>
    </div>
  );
}

const NAMES: Record<string, string> = { promote: "new version", previous: "previous version" };

function describe({ name, share, hasShare, replicas, ready }: VariantFigure): string {
  const parts = [hasShare && `${share} % of the traffic`, replicas !== null && `${ready ?? 0} of ${replicas} replicas ready`];
  return `${NAMES[name] ?? name}: ${parts.filter(Boolean).join(", ")}`;
}
