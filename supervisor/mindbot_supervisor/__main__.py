"""`python -m mindbot_supervisor` is the same as `mindbot-supervisor`."""

import sys

from .cli import main

sys.exit(main())
