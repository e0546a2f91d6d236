"""Upgrade in place: the check of the new version, the state file, the exec. Imports core, processes and
recovery. Nothing in here changes what workers do.
"""
