// What is wrong with an application's configuration file: where, what, and how to mend it.

import { Alert, Text } from "@mantine/core";
import { IconFileAlert } from "@tabler/icons-react";

import { complaints } from "../complaint";
import classes from "./complaints.module.css";

export function Complaints({ reason }: { reason: string }) {
  return (
    <Alert color="red" variant="light" icon={<IconFileAlert aria-hidden />} title="The configuration has a mistake">
      <ul className={classes.list}>
        {complaints(reason).map((complaint, index) => (
          <li key={index}>
            {complaint.file && (
              <div className={classes.place}>
                <strong>
                  {complaint.file}
                  {complaint.line > 0 && `:${complaint.line}`}
                </strong>
                {complaint.key && <span>{complaint.key}</span>}
              </div>
            )}
            <div>{complaint.what}</div>
            {complaint.remedy && <div className={classes.remedy}>→ {complaint.remedy}</div>}
          </li>
        ))}
      </ul>
      <Text size="sm" mt="xs">
        Nothing is deployed until a commit mends it. Other applications are not affected.
      </Text>
    </Alert>
  );
}
