// A plan of Terraform in colours, after the numbers of its changes.

import { parsePlan, planCounts, type PlanCounts, planInLog } from "./drift";
import classes from "./drift.module.css";

export function PlanText({ text }: { text: string }) {
  const counts = planCounts(text);
  return (
    <div>
      {counts && <Counts counts={counts} />}
      <pre className={classes.plan}>
        {parsePlan(text).map(({ kind, text: line }, index) => (
          <span key={index} className={classes.planLine} data-kind={kind}>
            {line || " "}
          </span>
        ))}
      </pre>
    </div>
  );
}

/** The plan that a stage has printed. */
export function PlanInLog({ log }: { log: string }) {
  return <PlanText text={planInLog(log)} />;
}

function Counts({ counts: { add, change, destroy } }: { counts: PlanCounts }) {
  return (
    <p className={classes.counts} aria-label="Changes of the plan">
      <span data-kind="create">+{add} to add</span>
      <span data-kind="update">~{change} to change</span>
      <span data-kind="destroy">−{destroy} to destroy</span>
    </p>
  );
}
