"""The engine: it brings facts about the workers to the core's pool and carries out the actions that the pool returns.
Imports core, processes, monitoring and recovery. Nothing in here decides whether a worker is started, drained or
killed.
"""
