// The blocks of a deployment chain, as columns or as one line.

import { Text, Title } from "@mantine/core";
import { Link } from "react-router";

import { chainBlockStatusDisplay, deploymentStatusDisplay } from "../display-names";
import type { ChainNode, DeploymentChain } from "../schema/model/chain_pb";
import classes from "./chain.module.css";
import { StatusBadge, StatusIcon } from "./status";

const NOT_CREATED = { text: "No deployment yet", tone: "quiet" } as const;
/** Applications that the line of a chain names in each block. */
const MAX_NAMES = 4;

const nameOf = ({ applicationRef }: ChainNode): string => applicationRef?.applicationName ?? "";
const statusOf = ({ deploymentRef }: ChainNode) =>
  deploymentRef ? deploymentStatusDisplay(deploymentRef.status) : NOT_CREATED;

/** A line such as `shop → api, worker → web` with the status of each block. */
export function ChainPath({ chain }: { chain: DeploymentChain }) {
  return (
    <ol role="list" className={classes.path} aria-label="Blocks">
      {chain.blocks.map((block, index) => (
        <li key={index}>
          <StatusIcon status={chainBlockStatusDisplay(block.status)} size={16} />
          {block.nodes.slice(0, MAX_NAMES).map(nameOf).join(", ")}
          {block.nodes.length > MAX_NAMES && ` and ${block.nodes.length - MAX_NAMES} more`}
        </li>
      ))}
    </ol>
  );
}

export function ChainColumns({ chain }: { chain: DeploymentChain }) {
  return (
    <ol role="list" className={classes.columns} aria-label="Blocks">
      {chain.blocks.map((block, index) => (
        <li key={index} className={classes.column}>
          <div className={classes.heading}>
            <Title order={2} size="h6">
              Block {index + 1}
            </Title>
            <StatusBadge status={chainBlockStatusDisplay(block.status)} size={13} />
          </div>
          <ul role="list" className={classes.nodes}>
            {block.nodes.map((node, position) => (
              <Node key={node.applicationRef?.applicationId || position} node={node} />
            ))}
          </ul>
        </li>
      ))}
    </ol>
  );
}

function Node({ node }: { node: ChainNode }) {
  const { applicationRef, deploymentRef } = node;
  const status = statusOf(node);
  return (
    <li className={classes.node} data-tone={status.tone}>
      {applicationRef?.applicationId ? (
        <Link to={`/applications/${applicationRef.applicationId}`} className={classes.name}>
          {nameOf(node)}
        </Link>
      ) : (
        <span className="faint">{nameOf(node)}</span>
      )}
      {deploymentRef?.deploymentId ? (
        <Link to={`/deployments/${deploymentRef.deploymentId}`} className="link" aria-label={`${status.text}: deployment of ${nameOf(node)}`}>
          <StatusBadge status={status} size={13} />
        </Link>
      ) : (
        <StatusBadge status={status} size={13} />
      )}
      {deploymentRef?.statusReason && (
        <Text size="xs" className="faint">
          {deploymentRef.statusReason}
        </Text>
      )}
    </li>
  );
}
