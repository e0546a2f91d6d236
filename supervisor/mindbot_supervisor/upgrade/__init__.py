"""Upgrade in place: the probe of the new version, the handover of state, the exec. Imports core, processes and
recovery. Nothing in here changes what workers do.
"""
