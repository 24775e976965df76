"""Embedding texts: the step ``embed`` and the models it uses."""
