"""What runs in job processes, around the user's own functions: journal, metrics, beats, reports to the worker.
Imports providers, livekit_adapter, logging and protocol. Nothing in here runs in the worker process itself.
"""
