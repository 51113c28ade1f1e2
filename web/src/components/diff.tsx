// A text that may contain a diff: lines present on one side only are highlighted.

import classes from "./diff.module.css";

export function Diff({ text }: { text: string }) {
  return (
    <pre className={classes.text}>
      {text.split("\n").map((line, index) => (
        <span key={index} className={classes.line} data-kind={classifyLine(line)}>
          {line || " "}
        </span>
      ))}
    </pre>
  );
}

/** Only in Git, only in the running state, a heading, or undefined. Terraform indents its signs. */
export function classifyLine(line: string): "git" | "running" | "heading" | undefined {
  if (/^(@@|# |--- |\+\+\+ )/.test(line)) return "heading";
  const sign = /^\s*([-+~]|-\/\+|\+\/-)(\s|\w|$)/.exec(line)?.[1];
  if (!sign) return undefined;
  if (sign === "~") return "heading";
  return sign === "+" ? "git" : "running";
}
