// Shown instead of what could not be loaded: the error, and a button that tries again. An open page also tries again by
// itself, see `live.ts`. What the control plane rejects because of the page's address is requested without it.

import { Alert, Button } from "@mantine/core";
import { Link, useLocation } from "react-router";

import { errorMessage, isInvalid, isRetryable } from "../api";
import { IconAlertCircle } from "../icons";

interface ErrorAlertProps {
  title: string;
  error: unknown;
  retry?: () => unknown;
}

export function ErrorAlert({ title, error, retry }: ErrorAlertProps) {
  const { pathname, search } = useLocation();
  const isOfAddress = isInvalid(error) && search !== "";
  return (
    <Alert color="red" variant="light" icon={<IconAlertCircle aria-hidden />} title={title} role="alert">
      {isOfAddress && "The link names a page or a filter that does not exist. "}
      {errorMessage(error)}
      {isRetryable(error) && " This page tries again by itself."}
      {isOfAddress ? (
        <Button component={Link} to={pathname} size="xs" variant="default" mt="sm" display="block" w="fit-content">
          First page without filters
        </Button>
      ) : (
        retry && (
          <Button size="xs" variant="default" mt="sm" display="block" onClick={() => void retry()}>
            Retry
          </Button>
        )
      )}
    </Alert>
  );
}
