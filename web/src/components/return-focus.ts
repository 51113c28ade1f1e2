// Where the focus goes when a dialog closes.

import { useEffect, useState } from "react";

/**
 * Gives the focus back to what had it, such as the button that opened the dialog. For dialogs that exist only while they are
 * open: those that stay do so by themselves.
 */
export function useReturnFocus(): void {
  const [before] = useState(() => document.activeElement);
  useEffect(
    () => () => {
      if (before instanceof HTMLElement) before.focus({ preventScroll: true });
    },
    [before],
  );
}
