#!/bin/sh
# Prints the path of a Python 3.11 or newer that can make virtual environments, or says what is missing.
# Used by the Makefile. PYTHON=/path/to/python asks for that one.
set -u

probe='
import sys
if sys.version_info < (3, 11):
    sys.exit(1)
try:
    import ensurepip, venv
except ImportError:
    sys.exit(2)
print(sys.executable)
'
without_venv=""

if [ -n "${PYTHON:-}" ]; then
    set -- "$PYTHON"
else
    set -- python3 python python3.13 python3.12 python3.11 python3.14
fi
for name in "$@"; do
    found=$("$name" -c "$probe" 2>/dev/null)
    case $? in
    0)
        printf '%s\n' "$found"
        exit 0
        ;;
    2) without_venv=$name ;;
    esac
done

if [ -n "$without_venv" ]; then
    echo "$without_venv is new enough but cannot make virtual environments: its venv module is missing." >&2
    echo "On Debian and Ubuntu, \"sudo apt install python3-venv\" adds it. Then run make again." >&2
elif [ -n "${PYTHON:-}" ]; then
    echo "PYTHON=$PYTHON is not a Python 3.11 or newer. Leave PYTHON out, or name another one." >&2
else
    echo "No Python 3.11 or newer was found. Install one, from python.org for instance, or name it:" >&2
    echo "make lab PYTHON=/path/to/python3" >&2
fi
exit 1
