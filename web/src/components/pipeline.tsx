// The pipeline as a graph. Each stage is a button that opens its log.

import { useMediaQuery } from "@mantine/hooks";
import { useMemo } from "react";

import { stageDisplay } from "../display-names";
import { layoutPipeline, STAGE_SIZE } from "../pipeline-layout";
import type { PipelineStage } from "../schema/model/stage_pb";
import { endedAt, stageNote, startedAt } from "../stages";
import { Breakable } from "./breakable";
import classes from "./pipeline.module.css";
import { StatusIcon } from "./status";
import { Duration } from "./time";

interface PipelineProps {
  stages: readonly PipelineStage[];
  selectedId: string;
  onSelect: (stageId: string) => void;
}

export function Pipeline({ stages, selectedId, onSelect }: PipelineProps) {
  const narrow = useMediaQuery("(max-width: 48em)");
  const layout = useMemo(() => layoutPipeline(stages, narrow ? "down" : "right"), [stages, narrow]);
  return (
    <div className={classes.viewport}>
      <div
        className={classes.canvas}
        style={{ width: layout.size.width, height: layout.size.height }}
        role="group"
        aria-label="Pipeline stages"
      >
        <svg className={classes.edges} width={layout.size.width} height={layout.size.height} aria-hidden>
          {layout.edges.map((edge) => (
            <path key={`${edge.from}>${edge.to}`} d={edge.path} data-rollback={edge.rollback || undefined} />
          ))}
        </svg>
        {layout.stages.map(({ stage, x, y }) => (
          <StageBox key={stage.id} stage={stage} x={x} y={y} selected={stage.id === selectedId} onSelect={onSelect} />
        ))}
      </div>
    </div>
  );
}

interface StageBoxProps extends Pick<PipelineProps, "onSelect"> {
  stage: PipelineStage;
  x: number;
  y: number;
  selected: boolean;
}

function StageBox({ stage, x, y, selected, onSelect }: StageBoxProps) {
  const status = stageDisplay(stage);
  const started = startedAt(stage);
  const note = stageNote(stage) || stage.desc;
  return (
    <button
      type="button"
      className={classes.stage}
      data-tone={status.tone}
      aria-pressed={selected}
      style={{ left: x, top: y, width: STAGE_SIZE.width, height: STAGE_SIZE.height }}
      title={[stage.name, note].filter(Boolean).join(": ")}
      onClick={() => onSelect(stage.id)}
    >
      <span className={classes.head}>
        <StatusIcon status={status} size={17} />
        <span className={classes.name}>
          <Breakable text={stage.name} />
        </span>
      </span>
      <span className={classes.foot}>
        <span className={classes.note}>{note}</span>
        {started > 0 && (
          <span className={classes.duration}>
            <Duration from={started} until={endedAt(stage)} />
          </span>
        )}
      </span>
    </button>
  );
}
