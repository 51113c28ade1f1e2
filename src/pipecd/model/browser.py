"""The name of a browser and its system, from the header `User-Agent`, for the list of sessions."""

import re
from collections.abc import Sequence

#: Searched in this order: most browsers claim to be others too.
_BROWSERS: Sequence[tuple[str, str]] = (
    ("Edge", r"\bEdg(?:e|A|iOS)?/"),
    ("Opera", r"\bOPR/"),
    ("Samsung Internet", r"\bSamsungBrowser/"),
    ("Firefox", r"\b(?:Firefox|FxiOS)/"),
    ("Chrome", r"\b(?:Chrome|CriOS|HeadlessChrome)/"),
    ("Safari", r"\bVersion/[0-9.]+ .*\bSafari/"),
    ("curl", r"^curl/"),
)
_SYSTEMS: Sequence[tuple[str, str]] = (
    ("iOS", r"\b(?:iPhone|iPad|iPod)\b"),
    ("Android", r"\bAndroid\b"),
    ("Windows", r"\bWindows\b"),
    ("ChromeOS", r"\bCrOS\b"),
    ("macOS", r"\bMac ?OS X\b|\bMacintosh\b"),
    ("Linux", r"\bLinux\b"),
)


def describe_browser(user_agent: str) -> str:
    """Such as `Firefox on Linux`; empty if neither is known. `user_agent` has a few hundred characters."""
    browser, system = (_first(names, user_agent) for names in (_BROWSERS, _SYSTEMS))
    if browser and system:
        return f"{browser} on {system}"
    return browser or system


def _first(names: Sequence[tuple[str, str]], text: str) -> str:
    return next((name for name, pattern in names if re.search(pattern, text)), "")
