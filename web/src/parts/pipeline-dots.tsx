// A whole pipeline in a line of dots, for rows of lists.

import { VisuallyHidden } from "@mantine/core";

import { type PipelineStage, StageStatus } from "../schema/model/stage_pb";
import { isAtRest, stageWord } from "../words";
import classes from "./pipeline-dots.module.css";

export function PipelineDots({ stages }: { stages: readonly PipelineStage[] }) {
  const shown = stages
    .filter((stage) => !stage.rollback || stage.status !== StageStatus.STAGE_NOT_STARTED_YET)
    .toSorted((one, other) => Number(one.rollback) - Number(other.rollback) || one.index - other.index);
  if (shown.length === 0) return null;
  const done = shown.filter((stage) => isAtRest(stage.status)).length;
  return (
    <span className={classes.dots}>
      <VisuallyHidden>
        {done} of {shown.length} stages are over.
      </VisuallyHidden>
      {shown.map((stage) => (
        <span
          key={stage.id}
          className={classes.dot}
          data-tone={stageWord(stage.status).tone}
          data-rollback={stage.rollback || undefined}
          title={`${stage.name}: ${stageWord(stage.status).text.toLowerCase()}`}
          aria-hidden
        />
      ))}
    </span>
  );
}
