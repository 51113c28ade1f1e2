export function AddApplicationPage() { return null; }
