"""The composition root: it builds the parts, connects them and runs them. May import everything but the
command line. Nothing in here decides about workers: that is core's.
"""
