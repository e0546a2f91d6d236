"""One worker process: its start, the agent that it loads, registration, capacity, heartbeat, shutdown. May import every
folder of this package except `mindbot`, `template` and `standins`. Nothing in here runs in job processes.
"""
