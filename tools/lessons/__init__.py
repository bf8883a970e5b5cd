"""Lessons from text to notebooks: read, check, run, write."""
