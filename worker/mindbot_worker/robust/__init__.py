"""For agents: getting into the room, and an end that a caller understands where the agent fails.

connecting     connect_with_retry
entrypoint     robust_entrypoint: what raised is tried again or told, and no caller is left in a silent room
notifying      notify_error: the log, the heartbeat and, through the supervisor, the webhook
failing        the end of a call that cannot go on: apology, then close, leave or handover
"""
