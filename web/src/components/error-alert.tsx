// Shown instead of what could not be loaded: the error, and a button that tries again. An open page also tries again by
// itself, see `live.ts`.

import { Alert, Button } from "@mantine/core";
import { IconAlertCircle } from "../icons";

import { errorMessage, isRetryable } from "../api";

interface ErrorAlertProps {
  title: string;
  error: unknown;
  retry?: () => unknown;
}

export function ErrorAlert({ title, error, retry }: ErrorAlertProps) {
  return (
    <Alert color="red" variant="light" icon={<IconAlertCircle aria-hidden />} title={title} role="alert">
      {errorMessage(error)}
      {isRetryable(error) && " This page tries again by itself."}
      {retry && (
        <Button size="xs" variant="default" mt="sm" display="block" onClick={() => void retry()}>
          Retry
        </Button>
      )}
    </Alert>
  );
}
