export function PipedsPage() { return null; }
