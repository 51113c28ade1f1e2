/**
 * The console's icons: outlines on a grid of 24 × 24, drawn with lines, circles and boxes.
 *
 * Packages of icons have thousands of files, of which the console would use forty.
 */

import type { JSX, SVGProps } from "react";

export interface IconProps extends Omit<SVGProps<SVGSVGElement>, "stroke"> {
  /** Width and height, in pixels. */
  size?: number;
  /** Width of the lines, on the grid. */
  stroke?: number;
}

export type Icon = (props: IconProps) => JSX.Element;

function icon(...paths: string[]): Icon {
  return function OutlineIcon({ size = 24, stroke = 2, ...rest }) {
    return (
      <svg
        xmlns="http://www.w3.org/2000/svg"
        width={size}
        height={size}
        viewBox="0 0 24 24"
        fill="none"
        stroke="currentColor"
        strokeWidth={stroke}
        strokeLinecap="round"
        strokeLinejoin="round"
        {...rest}
      >
        {paths.map((path) => (
          <path key={path} d={path} />
        ))}
      </svg>
    );
  };
}

/** A line through points: x and y of each. */
const line = (...points: number[]): string => `M${points.join(" ")}`;
/** A closed line through points. */
const shape = (...points: number[]): string => `${line(...points)}z`;
const dot = (x: number, y: number): string => `M${x} ${y}h.01`;
const circle = (x: number, y: number, r: number): string => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
/** A rectangle with round corners of radius `r`. */
const box = (x: number, y: number, width: number, height: number, r: number): string =>
  `M${x + r} ${y}h${width - 2 * r}q${r} 0 ${r} ${r}v${height - 2 * r}q0 ${r} ${-r} ${r}h${2 * r - width}q${-r} 0 ${-r} ${-r}v${2 * r - height}q0 ${-r} ${r} ${-r}`;
/** `count` short lines from radius `inner` to `outer` around the centre, the first one upwards. */
const rays = (count: number, inner: number, outer: number): string[] =>
  Array.from({ length: count }, (_, index) => {
    const angle = (2 * Math.PI * index) / count;
    const [x, y] = [Math.sin(angle), -Math.cos(angle)];
    const at = (radius: number) => [12 + radius * x, 12 + radius * y].map((value) => Number(value.toFixed(2)));
    return line(...at(inner), ...at(outer));
  });

const CIRCLE = circle(12, 12, 9);
const CROSS = [line(6.5, 6.5, 17.5, 17.5), line(17.5, 6.5, 6.5, 17.5)];

/** Sliders. */
export const IconAdjustments = icon(line(4, 7, 13, 7), circle(15.5, 7, 2.5), line(18, 7, 20, 7), line(4, 17, 6, 17), circle(8.5, 17, 2.5), line(11, 17, 20, 17));
export const IconAlertCircle = icon(CIRCLE, line(12, 7.5, 12, 12.5), dot(12, 16));
export const IconAlertTriangle = icon(shape(12, 4, 21, 20, 3, 20), line(12, 10, 12, 14), dot(12, 17));
export const IconApps = icon(box(4, 4, 6, 6, 1.5), box(14, 4, 6, 6, 1.5), box(4, 14, 6, 6, 1.5), box(14, 14, 6, 6, 1.5));
export const IconArrowDown = icon(line(12, 5, 12, 19), line(6.5, 13.5, 12, 19, 17.5, 13.5));
export const IconArrowUp = icon(line(12, 19, 12, 5), line(6.5, 10.5, 12, 5, 17.5, 10.5));
export const IconBell = icon("M6 16v-5a6 6 0 0 1 12 0v5l1.5 2h-15z", "M10 21h4", line(12, 3, 12, 5));
/** A window of a browser. */
export const IconBrowser = icon(box(3, 4, 18, 16, 2), line(3, 9, 21, 9), dot(6.5, 6.5), dot(9.5, 6.5));
export const IconBolt = icon(shape(13, 3, 5, 14, 11.5, 14, 10.5, 21, 19, 10, 12.5, 10));
export const IconBox = icon(shape(12, 3, 20, 7.5, 20, 16.5, 12, 21, 4, 16.5, 4, 7.5), line(4, 7.5, 12, 12, 20, 7.5), line(12, 12, 12, 21));
export const IconCheck = icon(line(5, 12.5, 10, 17.5, 19.5, 7));
export const IconChevronDown = icon(line(6, 9.5, 12, 15.5, 18, 9.5));
export const IconChevronRight = icon(line(9.5, 6, 15.5, 12, 9.5, 18));
export const IconCircleArrowUp = icon(CIRCLE, line(12, 16.5, 12, 8), line(8.5, 11.5, 12, 8, 15.5, 11.5));
export const IconCircleCheck = icon(CIRCLE, line(8, 12.2, 11, 15.2, 16.2, 9));
export const IconCircleDashed = icon(
  "M9 3.5a9 9 0 0 1 6 0",
  "M18.4 5.6a9 9 0 0 1 2.5 4.4",
  "M20.6 14.8a9 9 0 0 1 -3 4.2",
  "M14 20.8a9 9 0 0 1 -5 -.3",
  "M5.4 18.1a9 9 0 0 1 -2.2 -4.2",
  "M3.3 9.8a9 9 0 0 1 2.5 -4.3",
);
export const IconCircleX = icon(CIRCLE, line(9, 9, 15, 15), line(15, 9, 9, 15));
export const IconClock = icon(CIRCLE, line(12, 7, 12, 12, 15.5, 14));
export const IconCommit = icon(circle(12, 12, 4), line(2, 12, 8, 12), line(16, 12, 22, 12));
export const IconCopies = icon(box(3, 9, 12, 12, 2), "M8 5.5v-.5q0 -2 2 -2h9q2 0 2 2v9q0 2 -2 2h-.5");
export const IconCopy = icon(box(8, 8, 12, 12, 2), "M16 5.5v-.5q0 -1 -1 -1h-10q-1 0 -1 1v10q0 1 1 1h.5");
export const IconDatabase = icon("M4 6a8 3 0 1 0 16 0a8 3 0 1 0 -16 0", "M4 6v12a8 3 0 0 0 16 0v-12", "M4 12a8 3 0 0 0 16 0");
export const IconDeviceDesktop = icon(box(3, 4, 18, 12, 1.5), line(12, 16, 12, 20), line(8, 20, 16, 20));
export const IconDots = icon(circle(5, 12, 0.6), circle(12, 12, 0.6), circle(19, 12, 0.6));
export const IconDownload = icon(line(12, 4, 12, 15.5), line(7, 10.5, 12, 15.5, 17, 10.5), line(4.5, 20, 19.5, 20));
export const IconFileAlert = icon(shape(6, 3, 14, 3, 19, 8, 19, 21, 6, 21), line(14, 3, 14, 8, 19, 8), line(12.5, 11.5, 12.5, 15), dot(12.5, 18));
export const IconFileText = icon(shape(6, 3, 14, 3, 19, 8, 19, 21, 6, 21), line(14, 3, 14, 8, 19, 8), line(9.5, 13, 15.5, 13), line(9.5, 17, 15.5, 17));
export const IconFilter = icon(shape(4, 5, 20, 5, 14, 12, 14, 17, 10, 20, 10, 12));
export const IconFilterOff = icon(shape(4, 5, 20, 5, 14, 12, 14, 17, 10, 20, 10, 12), line(3, 2.5, 21, 21.5));
export const IconFlag = icon(line(6, 21, 6, 4), line(6, 4, 19, 4, 15.5, 8.5, 19, 13, 6, 13));
export const IconFolder = icon("M3 7v11q0 1.5 1.5 1.5h15q1.5 0 1.5 -1.5v-9q0 -1.5 -1.5 -1.5h-7.5l-2.5 -3h-5q-1.5 0 -1.5 1.5z");
export const IconFolderSearch = icon("M10 19h-5q-2 0 -2 -2v-11q0 -1 1 -1h5l3 3h8q1 0 1 1v1", circle(16, 16, 3.5), line(18.7, 18.7, 21.5, 21.5));
export const IconChartBar = icon(line(4, 20, 20, 20), box(5, 11, 3, 6, 1), box(10.5, 5, 3, 12, 1), box(16, 8, 3, 9, 1));
export const IconInbox = icon(shape(6.5, 5, 17.5, 5, 20.5, 13, 20.5, 19, 3.5, 19, 3.5, 13), line(3.5, 13, 8.5, 13, 10, 16, 14, 16, 15.5, 13, 20.5, 13));
export const IconKey = icon(circle(8, 16, 4), line(11, 13, 20, 4), line(16, 8, 19, 11));
export const IconKeyboard = icon(box(2, 6, 20, 12, 2), dot(6, 10), dot(10, 10), dot(14, 10), dot(18, 10), line(8, 14, 16, 14));
export const IconLoader = icon("M12 3a9 9 0 1 0 9 9");
export const IconLock = icon(box(5, 11, 14, 10, 2), "M8 11v-3.5a4 4 0 0 1 8 0v3.5", dot(12, 16));
export const IconLogin = icon("M11 20h7q2 0 2 -2v-12q0 -2 -2 -2h-7", line(3, 12, 14, 12), line(10.5, 8.5, 14, 12, 10.5, 15.5));
export const IconLogout = icon("M13 20h-7q-2 0 -2 -2v-12q0 -2 2 -2h7", line(10, 12, 21, 12), line(17.5, 8.5, 21, 12, 17.5, 15.5));
export const IconMapOff = icon(shape(3, 6.5, 9, 4, 15, 6.5, 21, 4, 21, 17.5, 15, 20, 9, 17.5, 3, 20), line(3, 2.5, 21, 21.5));
export const IconMaximize = icon(line(4, 9, 4, 4, 9, 4), line(15, 4, 20, 4, 20, 9), line(20, 15, 20, 20, 15, 20), line(9, 20, 4, 20, 4, 15));
export const IconMinimize = icon(line(9, 4, 9, 9, 4, 9), line(20, 9, 15, 9, 15, 4), line(15, 20, 15, 15, 20, 15), line(4, 15, 9, 15, 9, 20));
export const IconMoon = icon("M20 14.5a8.5 8.5 0 1 1 -10.5 -10.5a7 7 0 0 0 10.5 10.5z");
export const IconNetwork = icon(box(9, 3, 6, 5, 1), box(3, 16, 6, 5, 1), box(15, 16, 6, 5, 1), line(12, 8, 12, 12), line(6, 16, 6, 12, 18, 12, 18, 16));
export const IconPin = icon(shape(9, 4, 15, 4, 14, 11, 17, 14, 7, 14, 10, 11), line(12, 14, 12, 21));
export const IconPlayerPause = icon(box(6, 5, 4, 14, 1), box(14, 5, 4, 14, 1));
export const IconPlayerPlay = icon(shape(7.5, 5, 19, 12, 7.5, 19));
export const IconPlayerSkipForward = icon(shape(5, 5, 15.5, 12, 5, 19), line(19, 5, 19, 19));
export const IconPlugOff = icon(line(9, 3, 9, 7), line(15, 3, 15, 7), "M6 7h12v4a6 6 0 0 1 -12 0z", line(12, 17, 12, 21), line(3, 4, 20, 21));
export const IconPlus = icon(line(12, 5, 12, 19), line(5, 12, 19, 12));
export const IconPower = icon(line(12, 3.5, 12, 11.5), "M7 6.5a8 8 0 1 0 10 0");
export const IconRefresh = icon("M19.5 10a8 8 0 0 0 -14.3 -2.5l-1.2 1.5", line(4, 4.5, 4, 9, 8.5, 9), "M4.5 14a8 8 0 0 0 14.3 2.5l1.2 -1.5", line(20, 19.5, 20, 15, 15.5, 15));
export const IconRestore = icon("M4.5 14a8 8 0 1 0 1.7 -7.5l-2.2 2.5", line(4, 4.5, 4, 9, 8.5, 9), line(12, 8, 12, 12.5, 15, 14));
export const IconRocket = icon("M12 3q5 4 4 10l-1.5 3h-5l-1.5 -3q-1 -6 4 -10z", circle(12, 9.5, 1.5), line(8, 12, 5, 15, 5, 19, 9, 16), line(16, 12, 19, 15, 19, 19, 15, 16), line(12, 19, 12, 21));
export const IconSearch = icon(circle(10.5, 10.5, 6.5), line(15.4, 15.4, 20.5, 20.5));
export const IconSend = icon(shape(3, 10.5, 21, 3, 13.5, 21, 11, 13), line(11, 13, 21, 3));
export const IconServer = icon(box(3, 4, 18, 7, 2), box(3, 13, 18, 7, 2), dot(7, 7.5), dot(7, 16.5));
export const IconServerBolt = icon(box(3, 4, 18, 7, 2), "M13 20h-8q-2 0 -2 -2v-3q0 -2 2 -2h9", dot(7, 7.5), dot(7, 16.5), line(19.5, 14, 17, 18, 20.5, 18, 18, 22));
export const IconSparkles = icon("M10 4q1 6 6.5 7.5q-5.5 1.5 -6.5 7.5q-1 -6 -6.5 -7.5q5.5 -1.5 6.5 -7.5z", line(18.5, 3.5, 18.5, 7.5), line(16.5, 5.5, 20.5, 5.5), line(18.5, 17, 18.5, 20), line(17, 18.5, 20, 18.5));
export const IconStar = icon(shape(12, 3.5, 14.6, 9, 20.5, 9.7, 16.2, 13.8, 17.3, 19.8, 12, 16.8, 6.7, 19.8, 7.8, 13.8, 3.5, 9.7, 9.4, 9));
export const IconSun = icon(circle(12, 12, 4), ...rays(8, 7, 9));
export const IconTag = icon(shape(4, 4, 12, 4, 20.5, 12.5, 12.5, 20.5, 4, 12), dot(8, 8));
export const IconTrash = icon(line(4, 7, 20, 7), line(9, 7, 9.5, 4, 14.5, 4, 15, 7), line(6, 7, 7, 20.5, 17, 20.5, 18, 7), line(10, 11, 10, 16.5), line(14, 11, 14, 16.5));
export const IconUser = icon(circle(12, 8, 4), "M4.5 21v-1q0 -5 5 -5h5q5 0 5 5v1");
export const IconX = icon(...CROSS);
