"""Beetle in a Box: explain convolutional networks, in a world with an answer key."""

__version__ = "0.1.0"
