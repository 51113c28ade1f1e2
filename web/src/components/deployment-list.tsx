// The list of deployments, newest first: status, commit, progress and duration.

import { Text } from "@mantine/core";
import { Link } from "react-router";

import { deploymentDisplay, isDeploymentCompleted } from "../display-names";
import { groupBy } from "../group-by";
import { kindName, kindOf } from "../kinds";
import type { Deployment } from "../schema/model/deployment_pb";
import { formatDay } from "../time";
import { CommitLine } from "./commit";
import classes from "./deployment-list.module.css";
import { Labels } from "./labels";
import { PipelineDots } from "./pipeline-dots";
import { StatusBadge } from "./status";
import { Duration, RelativeTime } from "./time";

interface DeploymentListProps {
  deployments: Deployment[];
  /** All deployments belong to one application: its name, kind and labels are omitted. */
  singleApplication?: boolean;
}

export function DeploymentList({ deployments, singleApplication = false }: DeploymentListProps) {
  return (
    <ul className={classes.list}>
      {deployments.map((deployment) => (
        <Row key={deployment.id} deployment={deployment} singleApplication={singleApplication} />
      ))}
    </ul>
  );
}

/** The list grouped by day, with a heading for each day. */
export function DeploymentDays({ deployments }: DeploymentListProps) {
  const days = groupBy(deployments, (deployment) => formatDay(Number(deployment.createdAt)));
  return [...days].map(([day, deploymentsOfDay]) => (
    <section key={day} aria-label={day}>
      <Text component="h2" size="sm" fw={600} className="faint" mb={6}>
        {day}
      </Text>
      <div className="panel">
        <DeploymentList deployments={deploymentsOfDay} />
      </div>
    </section>
  ));
}

function Row({ deployment, singleApplication }: { deployment: Deployment; singleApplication: boolean }) {
  const completed = isDeploymentCompleted(deployment.status);
  const commit = deployment.trigger?.commit;
  return (
    <li className={classes.row}>
      <div>
        <StatusBadge status={deploymentDisplay(deployment)} />
      </div>
      <div className={classes.summary}>
        <Link to={`/deployments/${deployment.id}`} className={classes.name}>
          {singleApplication ? (commit?.message.split("\n")[0] ?? deployment.id) : deployment.applicationName}
        </Link>
        <Text size="sm" className="faint" lineClamp={2} component="div">
          {singleApplication ? <CommitLine commit={commit} message={false} /> : <CommitLine commit={commit} />}
          {singleApplication && commit && ` by ${commit.author}`}
        </Text>
        {(completed ? deployment.statusReason && deployment.statusReason : deployment.summary) && (
          <Text size="sm" className="faint" lineClamp={2}>
            {completed ? deployment.statusReason : deployment.summary}
          </Text>
        )}
        {!singleApplication && <Labels labels={deployment.labels} list="/deployments" />}
      </div>
      <div className={classes.progress}>
        <PipelineDots stages={deployment.stages} />
        {!singleApplication && <span className="faint">{kindName(kindOf(deployment))}</span>}
      </div>
      <div className={classes.time}>
        <RelativeTime at={deployment.createdAt} />
        <span>
          {completed ? "took " : "for "}
          <Duration from={deployment.createdAt} until={completed ? deployment.completedAt : 0} />
        </span>
      </div>
    </li>
  );
}
