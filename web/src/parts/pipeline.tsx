// The pipeline as a graph: each stage is a button that opens its log.

import { useMediaQuery } from "@mantine/hooks";
import { useMemo } from "react";

import { layOut, STAGE } from "../pipeline-layout";
import type { PipelineStage } from "../schema/model/stage_pb";
import { endedAt, stageNote, startedAt } from "../stages";
import { stageWord } from "../words";
import classes from "./pipeline.module.css";
import { StatusIcon } from "./status";
import { Lasted } from "./time";

interface PipelineProps {
  stages: readonly PipelineStage[];
  chosen: string;
  onChoose: (stageId: string) => void;
}

export function Pipeline({ stages, chosen, onChoose }: PipelineProps) {
  const narrow = useMediaQuery("(max-width: 48em)");
  const layout = useMemo(() => layOut(stages, narrow ? "down" : "right"), [stages, narrow]);
  return (
    <div className={classes.frame}>
      <div
        className={classes.plane}
        style={{ width: layout.size.width, height: layout.size.height }}
        role="group"
        aria-label="Stages of the pipeline"
      >
        <svg className={classes.lines} width={layout.size.width} height={layout.size.height} aria-hidden>
          {layout.edges.map((edge) => (
            <path key={`${edge.from}>${edge.to}`} d={edge.path} data-rollback={edge.rollback || undefined} />
          ))}
        </svg>
        {layout.stages.map(({ stage, x, y }) => (
          <StageBox key={stage.id} stage={stage} x={x} y={y} chosen={stage.id === chosen} onChoose={onChoose} />
        ))}
      </div>
    </div>
  );
}

interface StageBoxProps extends Pick<PipelineProps, "onChoose"> {
  stage: PipelineStage;
  x: number;
  y: number;
  chosen: boolean;
}

function StageBox({ stage, x, y, chosen, onChoose }: StageBoxProps) {
  const word = stageWord(stage.status);
  const started = startedAt(stage);
  const note = stageNote(stage) || stage.desc;
  return (
    <button
      type="button"
      className={classes.stage}
      data-tone={word.tone}
      aria-pressed={chosen}
      style={{ left: x, top: y, width: STAGE.width, height: STAGE.height }}
      title={note}
      onClick={() => onChoose(stage.id)}
    >
      <span className={classes.head}>
        <StatusIcon word={word} size={17} />
        <span className={classes.name}>{stage.name}</span>
        {started > 0 && (
          <span className={classes.took}>
            <Lasted from={started} until={endedAt(stage)} />
          </span>
        )}
      </span>
      <span className={classes.note}>{note}</span>
    </button>
  );
}
