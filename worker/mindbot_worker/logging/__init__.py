"""Log lines of workers, job processes and the template, their output that never blocks, and stack dumps. May import
`protocol` and `mindbot_config`. Nothing in here may import LiveKit, or wait for a reader of the output.
"""
