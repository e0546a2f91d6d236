"""What runs in LiveKit's job processes around the agent's own functions: call journal, session metrics, disconnects,
reports to the worker. May import `protocol`, `providers`, `logging` and `livekit_adapter`. Nothing in here may import
`runtime`, which is the worker's own process, nor need a change to the agent's code.
"""
