"""Gives calls a new agent: LiveKit's API, attempts, tasks and call journals. Imports core. Nothing in here decides
whether a call is recovered.
"""
