// A command of pipectl with the options that connect it to this control plane.

import { Skeleton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import { CopyBlock } from "../../components/copy";
import { ErrorAlert } from "../../components/error-alert";
import { endpointQuery } from "../../queries";
import { connectionOptions } from "./start-commands";

interface PipectlCommandProps {
  command: string;
  options: string;
  /** Name of the block. */
  label: string;
}

export function PipectlCommand({ command, options, label }: PipectlCommandProps) {
  const endpoint = useQuery(endpointQuery);
  if (endpoint.isError) {
    return <ErrorAlert title="The command could not be loaded" error={endpoint.error} retry={() => endpoint.refetch()} />;
  }
  if (!endpoint.data) return <Skeleton height={48} role="status" aria-label="Loading" />;
  return <CopyBlock text={`pipectl ${command}${connectionOptions(endpoint.data)} ${options}`} label={label} />;
}
