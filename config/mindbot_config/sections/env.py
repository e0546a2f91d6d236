"""[env]: the file with credentials and other variables for the workers."""

from __future__ import annotations

from mindbot_config.sections.base import OptionalPath, Section


class Env(Section):
    """The file with credentials and other environment variables for the workers."""

    file: OptionalPath = None
    """A file of NAME=value lines (see env.example); it overrides the inherited environment, both for the workers and
    for MINDBOT_* settings. Values are taken as they are: $NAME is not replaced. Keep it at mode 0600."""
    watch: bool = False
    """Roll the workers, one at a time, when the env file changes; otherwise it is read again at `reload`."""
