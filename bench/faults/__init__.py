"""Faults done to real sweeps: a world of processes that can be held at a moment, killed, and asked what they redid."""
