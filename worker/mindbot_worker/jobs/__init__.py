"""The job side: what runs in LiveKit's job processes, around the user's own functions, and reports to the worker."""
