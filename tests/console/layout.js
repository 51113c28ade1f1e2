// What is wrong with the layout of the page: a list of sentences. Pictures, logs and differences, whose parts are
// placed one over another, are checked as a whole.
() => {
  const DRAWN = ".react-flow, [role=log], .cm-editor, .recharts-wrapper, svg";
  const CONTROLS = "a[href], button, input, select, textarea, [role=button]";
  /** In CSS pixels: what neighbours may share, because positions are fractions of a pixel and borders may join. */
  const SHARED = 3;
  const faults = [];
  const name = (element) => {
    const text = element.textContent.trim() || element.getAttribute("aria-label") || element.getAttribute("placeholder");
    return `${element.tagName.toLowerCase()} "${(text ?? "").slice(0, 60)}"`;
  };
  const isVisible = (element) =>
    element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !element.closest(DRAWN);
  const ancestors = (element) => {
    const all = [];
    for (let next = element.parentElement; next; next = next.parentElement) all.push(next);
    return all;
  };
  /** The part of a rectangle that ancestors of its element do not hide; null if there is none. */
  const shown = (element, rectangle) => {
    let { left, right, top, bottom } = rectangle;
    for (const ancestor of [element, ...ancestors(element)]) {
      if (ancestor === document.body || ancestor === document.documentElement) continue;
      const { overflowX, overflowY } = getComputedStyle(ancestor);
      const box = ancestor.getBoundingClientRect();
      if (overflowX !== "visible") [left, right] = [Math.max(left, box.left), Math.min(right, box.right)];
      if (overflowY !== "visible") [top, bottom] = [Math.max(top, box.top), Math.min(bottom, box.bottom)];
    }
    return right - left > 1 && bottom - top > 1 && right > 0 ? { left, right, top, bottom } : null;
  };
  const overlap = (one, other) =>
    Math.min(one.right, other.right) - Math.max(one.left, other.left) > SHARED &&
    Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > SHARED;
  const isFixed = (element) =>
    [element, ...ancestors(element)].some((part) => ["fixed", "sticky"].includes(getComputedStyle(part).position));

  /** Where the content of an element begins. */
  const textStart = (element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    return range.getBoundingClientRect().left;
  };

  // Nothing is wider than the window.
  const { scrollWidth } = document.scrollingElement;
  if (scrollWidth > innerWidth) faults.push(`the page is ${scrollWidth} px wide`);

  // Every control is on the screen, unless it is in a part that scrolls sideways.
  const scrollsSideways = (element) =>
    ancestors(element).some((part) => ["auto", "scroll"].includes(getComputedStyle(part).overflowX) && part.scrollWidth > part.clientWidth);
  const controls = [...document.querySelectorAll(CONTROLS)].filter(isVisible).flatMap((element) => {
    const box = element.getBoundingClientRect();
    return box.width > 1 && box.height > 1 ? [{ element, box }] : [];
  });
  const inDrawer = ({ box }) => box.right <= 0;
  for (const { element, box } of controls) {
    if (inDrawer({ box }) || element.closest(".skip") || scrollsSideways(element)) continue;
    if (box.left < -1 || box.right > innerWidth + 1) faults.push(`${name(element)} is off screen`);
  }

  // No control covers another one. Buttons inside a field, and what a label contains, belong together.
  const together = (one, other) =>
    one.contains(other) || other.contains(one) ||
    ["[data-with-right-section]", "[class*=Input-wrapper]", "label", "[class*=SegmentedControl-root]"].some((group) => {
      const parent = one.closest(group);
      return parent !== null && parent.contains(other);
    });
  const parts = controls.flatMap(({ element, box }) => {
    const part = isFixed(element) || element.closest(".skip") ? null : shown(element, box);
    return part ? [{ element, part }] : [];
  });
  parts.forEach((one, index) => {
    for (const other of parts.slice(index + 1)) {
      if (overlap(one.part, other.part) && !together(one.element, other.element)) {
        faults.push(`${name(one.element)} and ${name(other.element)} overlap`);
      }
    }
  });

  // On a phone, every button is large enough for a finger.
  const TARGET = 24;
  for (const { element, box } of innerWidth < 500 ? controls : []) {
    const isSmall = Math.min(box.width, box.height) < TARGET;
    if (isSmall && element.matches("button")) faults.push(`${name(element)} is smaller than ${TARGET} px`);
  }

  // Tables and the headings of their sections begin at the same line.
  for (const section of document.querySelectorAll("section")) {
    const [heading, cell] = [section.querySelector("h2"), section.querySelector("th:first-child")];
    if (!heading || !cell || !isVisible(heading) || !shown(cell, cell.getBoundingClientRect())) continue;
    const [start, other] = [heading, cell].map(textStart);
    if (Math.abs(start - other) > SHARED) faults.push(`${name(cell)} is not in line with ${name(heading)}`);
  }

  /** Whether something around the element hides the end of a line, without an ellipsis. */
  const isCutByAncestor = (element, { right }) => {
    for (const part of [element, ...ancestors(element)]) {
      const { overflowX, textOverflow, webkitLineClamp } = getComputedStyle(part);
      if (part === element && overflowX !== "visible") return false;
      if (textOverflow === "ellipsis" && right > part.getBoundingClientRect().right) return false;
      if (webkitLineClamp !== "none" || ["auto", "scroll"].includes(overflowX)) return false;
      if (["hidden", "clip"].includes(overflowX) && right > part.getBoundingClientRect().right + 1) return true;
    }
    return false;
  };

  // No text covers another text, and none is cut off without an ellipsis.
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !isVisible(element) || element.closest("option, .skip") || isFixed(element)) continue;
    const style = getComputedStyle(element);
    // Only for screen readers.
    if (style.clip !== "auto" || style.clipPath !== "none") continue;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    for (const rectangle of range.getClientRects()) {
      if (shown(element, rectangle) && isCutByAncestor(element, rectangle)) faults.push(`${name(element)} is cut off by what contains it`);
      const part = shown(element, rectangle);
      if (part) texts.push({ element, part, node: walker.currentNode });
    }
    const hides = ["hidden", "clip"];
    const clamps = style.webkitLineClamp !== "none" || style.textOverflow === "ellipsis";
    if (clamps) continue;
    if (hides.includes(style.overflowX) && element.scrollWidth > element.clientWidth + 1) faults.push(`${name(element)} is cut off`);
    if (hides.includes(style.overflowY) && element.scrollHeight > element.clientHeight + 2) faults.push(`${name(element)} is cut off below`);
  }
  texts.forEach((one, index) => {
    for (const other of texts.slice(index + 1)) {
      if (one.node !== other.node && overlap(one.part, other.part)) {
        faults.push(`the texts ${name(one.element)} and ${name(other.element)} overlap`);
      }
    }
  });

  // No ordinary word is broken into two lines, as `overflow-wrap: anywhere` does with a part that is too narrow, nor one of
  // a path, an image or a policy.
  const WORD = /^[(“"]?\p{L}{2,13}[).,:;!?”"]*$/u;
  const wordsOf = (token) =>
    WORD.test(token)
      ? [{ 0: token, index: 0 }]
      : [...token.matchAll(/[^/:@;,=]+/g)].filter((part) => part[0] !== token && /^\p{L}{2,13}$/u.test(part[0]));
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const node = words.currentNode;
    if (!node.data.trim() || !isVisible(node.parentElement)) continue;
    for (const token of node.data.matchAll(/\S+/g)) {
      for (const { 0: word, index } of wordsOf(token[0])) {
        const range = document.createRange();
        range.setStart(node, token.index + index);
        range.setEnd(node, token.index + index + word.length);
        const rectangles = [...range.getClientRects()].filter((each) => each.width > 0 && shown(node.parentElement, each));
        const lines = new Set(rectangles.map(({ top }) => Math.round(top)));
        if (lines.size > 1) faults.push(`the word "${word}" is broken`);
      }
    }
  }

  // The fonts that the console ships are used.
  const family = getComputedStyle(document.body).fontFamily.split(",")[0].replaceAll('"', "");
  if (![...document.fonts].some((font) => font.family.replaceAll('"', "") === family && font.status === "loaded")) {
    faults.push(`the font ${family} is not loaded`);
  }
  return [...new Set(faults)];
}
