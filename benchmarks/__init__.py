"""The scenes of `antiphon bench` (`./dev bench`): speed as ratios to floors measured in the same run.

Each scene measures both sides several times and gives the medians. The server runs in a process of its own,
and every stream is checked for gaps while it is measured.
"""

from benchmarks.runner import SCENES, Figure, format_table, run_scenes

__all__ = ["SCENES", "Figure", "format_table", "run_scenes"]
