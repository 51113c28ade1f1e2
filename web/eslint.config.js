import js from "@eslint/js";
import accessibility from "eslint-plugin-jsx-a11y";
import hooks from "eslint-plugin-react-hooks";
import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["src/schema", "node_modules"] },
  js.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  {
    files: ["**/*.{ts,tsx}"],
    extends: [accessibility.flatConfigs.strict],
    plugins: { "react-hooks": hooks },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      ...hooks.configs.recommended.rules,
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/no-misused-promises": ["error", { checksVoidReturn: { attributes: false } }],
      // Needed by screen readers if CSS lays the elements of a table out in another way, or a list has no markers.
      "jsx-a11y/no-redundant-roles": [
        "error",
        { ul: ["list"], ol: ["list"], table: ["table"], thead: ["rowgroup"], tbody: ["rowgroup"], tr: ["row"], th: ["columnheader"], td: ["cell"] },
      ],
      "jsx-a11y/no-interactive-element-to-noninteractive-role": ["error", { td: ["cell"] }],
      // Responses may come from a control plane that is newer than the generated types.
      "@typescript-eslint/no-unnecessary-condition": "off",
      // The value of a select is a string; the schema's enums are numbers.
      "@typescript-eslint/no-unsafe-enum-assignment": "off",
      // The virtualised log uses TanStack Virtual, which is incompatible with the React Compiler.
      "react-hooks/incompatible-library": "off",
      // The schema marks the per-platform fields as deprecated, but they are still in use.
      "@typescript-eslint/no-deprecated": "off",
    },
  },
  {
    files: ["src/**"],
    ignores: ["src/changes.ts", "src/live.ts"],
    rules: {
      "no-restricted-syntax": [
        "error",
        {
          selector: "MemberExpression[property.name=/^(invalidate|refetch|remove|reset)Queries$/]",
          message: "Name the queries that a change makes stale in useChange of changes.ts.",
        },
      ],
    },
  },
  { files: ["**/*.js"], extends: [tseslint.configs.disableTypeChecked] },
);
