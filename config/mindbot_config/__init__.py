"""Settings of mindbot-supervisor: the models, their sources, and how they are checked."""
