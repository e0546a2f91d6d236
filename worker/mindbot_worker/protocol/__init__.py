"""Wire formats between supervisor, template, workers and job processes, and the names that they agree on. Imports the
standard library and `mindbot_config.host` only, as the supervisor imports this package. Nothing in here may import
LiveKit, wait, or decide anything.
"""
