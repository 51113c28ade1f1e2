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
      // Records come over the wire from a control plane that may be newer than these types.
      "@typescript-eslint/no-unnecessary-condition": "off",
      // What a select holds is a text; the schema's enums are numbers.
      "@typescript-eslint/no-unsafe-enum-assignment": "off",
      // The virtualised log is measured by the library itself.
      "react-hooks/incompatible-library": "off",
      // PipeCD's own fields for platforms are marked deprecated in the schema and still the ones in use.
      "@typescript-eslint/no-deprecated": "off",
    },
  },
  { files: ["**/*.js"], extends: [tseslint.configs.disableTypeChecked] },
);
