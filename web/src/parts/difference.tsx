// A text that may hold a diff: lines that are only on one side stand out, by sign and by colour.

import classes from "./difference.module.css";

export function Difference({ text }: { text: string }) {
  return (
    <pre className={classes.text}>
      {text.split("\n").map((line, index) => (
        <span key={index} className={classes.line} data-side={sideOf(line)}>
          {line || " "}
        </span>
      ))}
    </pre>
  );
}

/** Git's side, the running side, a heading, or neither. Terraform indents its signs. */
export function sideOf(line: string): "git" | "running" | "heading" | undefined {
  if (/^(@@|# |--- |\+\+\+ )/.test(line)) return "heading";
  const sign = /^\s*([-+~]|-\/\+|\+\/-)(\s|\w|$)/.exec(line)?.[1];
  if (!sign) return undefined;
  if (sign === "~") return "heading";
  return sign === "+" ? "git" : "running";
}
