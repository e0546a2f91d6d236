"""One worker process: start, agent, registration, capacity, heartbeat, shutdown. Imports livekit_adapter, protocol
and logging. Nothing in here runs in job processes.
"""
