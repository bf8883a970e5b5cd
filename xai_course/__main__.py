"""The course's commands: python -m xai_course lessons FOLDER, or check."""

import argparse
import sys


def main() -> None:
    """Copy the lessons into a folder, or check whether this machine is ready."""
    parser = argparse.ArgumentParser(prog="python -m xai_course", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    lessons = commands.add_parser("lessons", help="copy the lessons and their data into a folder")
    lessons.add_argument("folder", help="a new or empty folder")
    commands.add_parser("check", help="check whether this machine is ready for the course")
    asked = parser.parse_args()
    if asked.command == "lessons":
        from xai_course.core.paths import copy_course

        try:
            folder = copy_course(asked.folder)
        except (OSError, ValueError) as error:
            sys.exit(str(error))
        print(f"The lessons are in {folder}. To begin:")
        print(f"jupyter lab {folder / 'notebooks' / '00_start_here.ipynb'}")
    else:
        from xai_course.environment import check_machine

        lines = check_machine()
        print("\n".join(lines))
        if any(line.startswith("✗") for line in lines):
            sys.exit(1)


if __name__ == "__main__":
    main()
