"""Tests of the tables, preset by preset."""
