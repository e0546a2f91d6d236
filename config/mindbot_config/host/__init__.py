"""Facts of the host that daemon and workers need: cgroup limits, memory and CPUs that may be used, standard
descriptors. Imports the standard library only. Nothing in here is a setting.
"""
