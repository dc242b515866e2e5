"""Streams of tasks: datasets, protocols, samples and views."""
