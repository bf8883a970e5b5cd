#!/bin/sh
# Prints the path of the newest Python from 3.11 that really runs, or says what is missing.
# Used by the Makefile. PYTHON=/path/to/python asks for that one.
set -u

# Exit status: 0 with the version and the path, 1 too old, 2 without what an environment needs.
probe='
import sys
if sys.version_info < (3, 11):
    sys.exit(1)
try:
    import ctypes, ensurepip, lzma, sqlite3, ssl, venv
except ImportError:
    sys.exit(2)
print("%d %s" % (sys.version_info[1], sys.executable))
'
incomplete=""
newest=0
path=""

# A name on PATH may be a pyenv shim that only answers "command not found", so each one is run; the
# Pythons that pyenv has installed are tried by their own paths, too.
if [ -n "${PYTHON:-}" ]; then
    set -- "$PYTHON"
else
    set -- python3.14 python3.13 python3.12 python3.11 python3 python \
        "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.*/bin/python3
fi
for name in "$@"; do
    answer=$("$name" -c "$probe" 2>/dev/null)
    case $? in
    0)
        version=${answer%% *}
        if [ "$version" -gt "$newest" ] && [ "$version" -le 14 ] || [ -z "$path" ]; then
            newest=$version
            path=${answer#* }
        fi
        ;;
    2) incomplete=$name ;;
    esac
done

if [ -n "$path" ]; then
    printf '%s\n' "$path"
    exit 0
fi
if [ -n "$incomplete" ]; then
    echo "$incomplete is new enough, but cannot make virtual environments: a module of its standard library is missing." >&2
    echo "On Debian and Ubuntu, \"sudo apt install python3-venv\" adds it. Then run make again." >&2
elif [ -n "${PYTHON:-}" ]; then
    echo "PYTHON=$PYTHON is not a Python 3.11 or newer. Leave PYTHON out, or name another one." >&2
else
    echo "No Python 3.11 or newer was found. Install one, from python.org for instance, or name it:" >&2
    echo "make lab PYTHON=/path/to/python3" >&2
fi
exit 1
