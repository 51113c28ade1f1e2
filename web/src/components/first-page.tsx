// At the address of the console: leads to the first page that the user's roles include.

import { Navigate } from "react-router";

import { firstPage } from "../page-rights";
import { useMay } from "../use-may";

export function FirstPage() {
  return <Navigate to={firstPage(useMay())} replace />;
}
