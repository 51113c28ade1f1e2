// The logo: a line from the committed state to the running state.

export function Logo({ size = 26 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden>
      <rect width="32" height="32" rx="8" fill="#1f5fd0" />
      <path
        d="M7 21h6a4 4 0 0 0 4-4v-2a4 4 0 0 1 4-4h4"
        fill="none"
        stroke="#fff"
        strokeWidth="3"
        strokeLinecap="round"
      />
      <circle cx="7.5" cy="21" r="3" fill="#fff" />
      <circle cx="24.5" cy="11" r="3" fill="#7ff0c0" />
    </svg>
  );
}
