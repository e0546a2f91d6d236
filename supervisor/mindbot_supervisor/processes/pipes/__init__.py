"""The pipes between the daemon and its workers: heartbeats, output, hints, and how much of each is read. Imports
core and protocol. Nothing in here starts or ends a process.
"""
