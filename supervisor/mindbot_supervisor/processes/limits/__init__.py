"""Limits of the host on processes: descriptors, pids, threads. Imports core. Nothing in here decides which worker
waits.
"""
