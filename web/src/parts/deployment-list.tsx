// Deployments, newest first: what happened, by which commit, how far it got.

import { Text } from "@mantine/core";
import { Link } from "react-router";

import type { Deployment } from "../schema/model/deployment_pb";
import { dayOf } from "../time";
import { deploymentWord, isOver, kindName } from "../words";
import { CommitLine } from "./commit";
import classes from "./deployment-list.module.css";
import { Labels } from "./labels";
import { PipelineDots } from "./pipeline-dots";
import { StatusBadge } from "./status";
import { Ago, Lasted } from "./time";

interface DeploymentListProps {
  deployments: Deployment[];
  /** On the page of one application its name and kind say nothing new. */
  ofOne?: boolean;
}

export function DeploymentList({ deployments, ofOne = false }: DeploymentListProps) {
  return (
    <ul className={classes.list}>
      {deployments.map((deployment) => (
        <Row key={deployment.id} deployment={deployment} ofOne={ofOne} />
      ))}
    </ul>
  );
}

/** The same under a heading for each day. */
export function DeploymentDays({ deployments }: DeploymentListProps) {
  const days = Map.groupBy(deployments, (deployment) => dayOf(Number(deployment.createdAt)));
  return [...days].map(([day, each]) => (
    <section key={day} aria-label={day}>
      <Text component="h2" size="sm" fw={600} className="faint" mb={6}>
        {day}
      </Text>
      <div className="panel">
        <DeploymentList deployments={each} />
      </div>
    </section>
  ));
}

function Row({ deployment, ofOne }: { deployment: Deployment; ofOne: boolean }) {
  const over = isOver(deployment.status);
  const commit = deployment.trigger?.commit;
  return (
    <li className={classes.row}>
      <div className={classes.status}>
        <StatusBadge word={deploymentWord(deployment.status)} />
      </div>
      <div className={classes.what}>
        <Link to={`/deployments/${deployment.id}`} className={classes.name}>
          {ofOne ? (commit?.message.split("\n")[0] ?? deployment.id) : deployment.applicationName}
        </Link>
        <Text size="sm" className="faint" lineClamp={2} component="div">
          {ofOne ? <CommitLine commit={commit} message={false} /> : <CommitLine commit={commit} />}
          {ofOne && commit && ` by ${commit.author}`}
        </Text>
        {(over ? deployment.statusReason && deployment.statusReason : deployment.summary) && (
          <Text size="sm" className="faint" lineClamp={2}>
            {over ? deployment.statusReason : deployment.summary}
          </Text>
        )}
        {!ofOne && <Labels labels={deployment.labels} list="/deployments" />}
      </div>
      <div className={classes.progress}>
        <PipelineDots stages={deployment.stages} />
        {!ofOne && <span className="faint">{kindName(deployment.kind)}</span>}
      </div>
      <div className={classes.when}>
        <Ago at={deployment.createdAt} />
        <span>
          {over ? "took " : "for "}
          <Lasted from={deployment.createdAt} until={over ? deployment.completedAt : 0} />
        </span>
      </div>
    </li>
  );
}
