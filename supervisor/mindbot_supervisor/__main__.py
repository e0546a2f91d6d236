"""`python -m mindbot_supervisor` is the same as `mindbot-supervisor`."""

import os
import sys

# `python -m` puts the working directory first, where anybody may have left a file of any name
if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109
    del sys.path[0]

from mindbot_supervisor.cli import main

sys.exit(main())
