"""The agent's own folder: one process at a time, because it clears away what an earlier one left."""

from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import quote

from pipecd import locked_directory as folders


def own_folder(home: Path, piped_id: str) -> AbstractContextManager[Path]:
    """The folder of this piped below `home`, ours until the block ends. Raises ConfigError."""
    return folders.own_folder(
        home / quote(piped_id, safe=""), owner="the agent", others="another process of this agent"
    )
