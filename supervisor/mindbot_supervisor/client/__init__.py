"""The client of the daemon's control socket, for the command line and for other programs.

It may import the standard library and `mindbot_supervisor.errors`. It never imports the daemon, and prints nothing.
"""

from mindbot_supervisor.client.answers import expected_from
from mindbot_supervisor.client.control_socket import TIMEOUT, ask

__all__ = ["TIMEOUT", "ask", "expected_from"]
