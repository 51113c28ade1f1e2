// Mantine theme: colours, fonts and component defaults.

import {
  Alert,
  Badge,
  createTheme,
  DrawerHeader,
  type MantineColorsTuple,
  Modal,
  ModalHeader,
  Table,
  TableTbody,
  TableTd,
  TableTh,
  TableThead,
  TableTr,
} from "@mantine/core";

const cobalt: MantineColorsTuple = [
  "#edf3fe",
  "#d8e4fa",
  "#adc6f3",
  "#7fa6ed",
  "#5a8be7",
  "#4379e3",
  "#2f68d8",
  "#1f5fd0",
  "#174fb4",
  "#0c4199",
];

// Cooler and darker than Mantine's default. The lightest shades are for text, the darkest for surfaces.
const dark: MantineColorsTuple = [
  "#d3d9e3",
  "#b4bccb",
  "#8f99ac",
  "#6a7487",
  "#3d4656",
  "#2c3442",
  "#202733",
  "#171d27",
  "#11161e",
  "#0b0f15",
];

export const theme = createTheme({
  primaryColor: "cobalt",
  primaryShade: { light: 7, dark: 7 },
  colors: { cobalt, dark },
  fontFamily: "'Inter Variable', system-ui, sans-serif",
  fontFamilyMonospace: "'JetBrains Mono Variable', ui-monospace, monospace",
  headings: { fontWeight: "650" },
  defaultRadius: "md",
  cursorType: "pointer",
  autoContrast: true,
  respectReducedMotion: true,
  components: {
    // With a border in its colour, as notices with a tone have. A long line inside makes it no wider.
    Alert: Alert.extend({
      styles: { body: { minWidth: 0 } },
      vars: () => ({ root: { "--alert-bd": "1px solid color-mix(in srgb, var(--alert-color) 30%, transparent)" } }),
    }),
    // In upper case by default.
    Badge: Badge.extend({ styles: { root: { textTransform: "none" } } }),
    Modal: Modal.extend({ styles: { title: { fontWeight: 600, lineHeight: 1.3 } } }),
    // Their element is `header`, which would be a second banner of the page.
    ModalHeader: ModalHeader.extend({ defaultProps: { role: "none" } }),
    DrawerHeader: DrawerHeader.extend({ defaultProps: { role: "none" } }),
    // Said explicitly: an element that CSS lays out as a card or grid is no row or cell to some screen readers.
    Table: Table.extend({ defaultProps: { role: "table" } }),
    TableThead: TableThead.extend({ defaultProps: { role: "rowgroup" } }),
    TableTbody: TableTbody.extend({ defaultProps: { role: "rowgroup" } }),
    TableTr: TableTr.extend({ defaultProps: { role: "row" } }),
    TableTh: TableTh.extend({ defaultProps: { role: "columnheader" } }),
    TableTd: TableTd.extend({ defaultProps: { role: "cell" } }),
  },
});
