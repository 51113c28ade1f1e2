// The errors of an application's configuration file: location, message and remedy.

import { Alert, Text } from "@mantine/core";
import { IconFileAlert } from "../icons";

import { parseConfigErrors } from "../config-errors";
import classes from "./config-errors.module.css";

export function ConfigErrors({ reason }: { reason: string }) {
  return (
    <Alert color="red" variant="light" icon={<IconFileAlert aria-hidden />} title="Invalid configuration">
      <ul role="list" className={classes.list}>
        {parseConfigErrors(reason).map((error, index) => (
          <li key={index}>
            {error.file && (
              <div className={classes.location}>
                <strong>
                  {error.file}
                  {error.line > 0 && `:${error.line}`}
                </strong>
                {error.key && <span>{error.key}</span>}
              </div>
            )}
            <div>{error.message}</div>
            {error.remedy && <div className={classes.remedy}>→ {error.remedy}</div>}
          </li>
        ))}
      </ul>
      <Text size="sm" mt="xs">
        This application is not deployed until a commit fixes its configuration. Other applications are not affected.
      </Text>
    </Alert>
  );
}
