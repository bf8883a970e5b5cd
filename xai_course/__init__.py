"""Beetle in a Box: a course on explaining convolutional networks, and its reference implementation.

The article's three techniques: `relu`, `fully_connected`, `residual`. How good is a map: `metrics`,
`beetlebox` (images whose true explanation is known), `robustness`. What they stand on: `models`,
`data`, `plots`, `storage`, `training`, `core`. All methods by name: `methods`. Functions to copy:
`snippets`. Products of the course: `exercises`, `explorer`, `report`, `experiments`.
"""

__version__ = "0.2.0"
