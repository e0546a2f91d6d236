"""The daemon's log: records, the sink that never blocks, redaction, repeats. Imports core's names of events. No
other file writes to stdout.
"""
