"""Health of workers and of the host: history, rules and the decisions made of them. Pure; imports only core and the
settings' models. Nothing in here measures anything: readings are handed in.
"""
