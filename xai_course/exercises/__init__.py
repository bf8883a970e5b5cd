"""The checks behind the exercises, one file a lesson: each tries the learner's function.

`asking`: what the checks share. May import everything but `explorer` and `report`.
"""

from xai_course.exercises.asking import Feedback, Wrong, ask, ask_tensor, check, close

__all__ = ["Feedback", "Wrong", "ask", "ask_tensor", "check", "close"]
