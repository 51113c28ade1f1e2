// The progress of a pipeline as a line of dots, for list rows.

import { isStageCompleted, stageDisplay } from "../display-names";
import type { PipelineStage } from "../schema/model/stage_pb";
import { isRollback, shownStages } from "../stages";
import classes from "./pipeline-dots.module.css";

export function PipelineDots({ stages }: { stages: readonly PipelineStage[] }) {
  const visible = shownStages(stages);
  if (visible.length === 0) return null;
  const completed = visible.filter((stage) => isStageCompleted(stage.status)).length;
  return (
    <span className={classes.dots}>
      <span className="visually-hidden">
        {completed} of {visible.length} stages completed
      </span>
      {visible.map((stage) => (
        <span
          key={stage.id}
          className={classes.dot}
          data-tone={stageDisplay(stage).tone}
          data-rollback={isRollback(stage) || undefined}
          title={`${stage.name}: ${stageDisplay(stage).text.toLowerCase()}`}
          aria-hidden
        />
      ))}
    </span>
  );
}
