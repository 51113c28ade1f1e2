// Above a page: which values of its address it does not know, and therefore leaves out.

import { Alert, Anchor } from "@mantine/core";
import type { ReactNode } from "react";
import { Link, useLocation, useSearchParams } from "react-router";

import { IconMapOff } from "../icons";
import { unknownParams, withoutUnknown } from "../page-params";

const MAX_LENGTH = 40;

export function LeftOutParams() {
  const { pathname, hash } = useLocation();
  const [params] = useSearchParams();
  const unknown = unknownParams(pathname, params);
  if (unknown.length === 0) return null;
  const texts = unknown.map(({ name, value }) => `${name}=${value.length > MAX_LENGTH ? `${value.slice(0, MAX_LENGTH)}…` : value}`);
  return (
    <LinkNotice to={{ search: withoutUnknown(params, unknown).toString(), hash }}>
      The address of this page has {unknown.length === 1 ? "a value" : "values"} that it does not know: {texts.join(", ")}.{" "}
      {unknown.length === 1 ? "It is" : "They are"} left out.
    </LinkNotice>
  );
}

interface LinkNoticeProps {
  /** The address without what the notice is about. */
  to: { search: string; hash?: string };
  children: ReactNode;
}

/** Says that the address of the page is not entirely right. */
export function LinkNotice({ to, children }: LinkNoticeProps) {
  return (
    <Alert variant="light" color="gray" mb="md" py="xs" role="status" icon={<IconMapOff size={18} aria-hidden />}>
      {children}{" "}
      <Anchor component={Link} to={to} replace inherit>
        Correct the address
      </Anchor>
    </Alert>
  );
}
