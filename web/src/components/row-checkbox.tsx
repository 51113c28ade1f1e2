// The check box of a row: an element of the browser, of which a page shows many.

import { useEffect, useRef } from "react";

import classes from "./row-checkbox.module.css";

interface RowCheckboxProps {
  label: string;
  checked: boolean;
  /** Some of what it stands for is checked. */
  indeterminate?: boolean;
  toggle: () => void;
}

export function RowCheckbox({ label, checked, indeterminate = false, toggle }: RowCheckboxProps) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (input.current) input.current.indeterminate = indeterminate;
  }, [indeterminate]);
  return (
    <input
      ref={input}
      type="checkbox"
      className={classes.checkbox}
      aria-label={label}
      checked={checked}
      onChange={toggle}
    />
  );
}
