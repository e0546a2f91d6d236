"""The composition root: puts the parts together and carries facts in and actions out. May import everything but the
command line. Nothing in here decides about workers: that is core's.
"""
