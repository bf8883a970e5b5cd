"""The course's commands: python -m xai_course lessons FOLDER, or check."""

import argparse
import sys

from xai_course.environment import translate


def main() -> None:
    """Copy the lessons into a folder, or check whether this machine is ready."""
    parser = argparse.ArgumentParser(prog="python -m xai_course", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    lessons = commands.add_parser(
        "lessons", help=translate("copy the lessons and their data into a folder")
    )
    lessons.add_argument("folder", help=translate("a new or empty folder"))
    commands.add_parser(
        "check", help=translate("check whether this machine is ready for the course")
    )
    asked = parser.parse_args()
    if asked.command == "lessons":
        from xai_course.core.paths import copy_course

        try:
            folder = copy_course(asked.folder)
        except (OSError, ValueError) as error:
            sys.exit(str(error))
        print(translate("The lessons are in {folder}. To begin:", folder=folder))
        print(f"jupyter lab {folder / 'notebooks' / '00_start_here.ipynb'}")
    else:
        from xai_course.environment import check_machine

        lines = check_machine()
        print("\n".join(lines))
        if any(line.startswith("✗") for line in lines):
            sys.exit(1)


if __name__ == "__main__":
    main()
