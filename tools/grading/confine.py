"""Shuts a process off from the rest of the machine, where the system allows it: Linux namespaces.

    python -m tools.grading.confine FOLDER    # status 0: it can be done here

Within, a process can signal and read no other process; there is no network; no file can be changed
but in a folder of its own, in memory; folders with answers are empty; and all that it starts ends
with it, in whatever session. This needs Linux 5.12 and the right to make user namespaces, which
some distributions and most containers withhold.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

USER, PROCESSES, NETWORK, MOUNTS, MESSAGES = 1 << 28, 1 << 29, 1 << 30, 1 << 17, 1 << 27
MOUNT_SETATTR = 442  # the system call's number, the same on all processors
READ_ONLY, RECURSIVE, HERE = 1, 0x8000, -100
NO_DEVICES = 2 | 4  # neither programs that run as another user, nor devices
DEATH_SIGNAL, DROP_CAPABILITY, NO_NEW_PRIVILEGES, SUBREAPER = 1, 24, 38, 36
CAPABILITIES = 64


def confine(folder: str, hidden: Sequence[str] = ()) -> None:
    """Continue in a new process that is shut off; this one waits for it and ends as it ends.

    `folder` becomes the folder that can be written to; the `hidden` ones become empty. Raises
    OSError where it cannot be done.
    """
    user, group = os.geteuid(), os.getegid()
    check(libc().unshare(USER | PROCESSES | NETWORK | MOUNTS | MESSAGES))
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"{user} {user} 1")
    write("/proc/self/gid_map", f"{group} {group} 1")
    attributes = (ctypes.c_uint64 * 4)(READ_ONLY, 0, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    check(libc().syscall(MOUNT_SETATTR, HERE, b"/", RECURSIVE, ctypes.byref(attributes), size))
    for place in (
        *hidden,
        "/run",
        folder,
    ):  # in /run services listen that could start processes outside
        check(libc().mount(b"none", place.encode(), b"tmpfs", NO_DEVICES, b"size=100m"))
    os.chdir(folder)
    continue_in_child()  # the first process within: when it ends, all others are ended
    continue_in_child()
    drop_rights()


def continue_in_child() -> None:
    """Go on in a new process; this one waits for it and ends with its status."""
    if (child := os.fork()) == 0:
        control_process(DEATH_SIGNAL, signal.SIGKILL)
        return
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(code if code >= 0 else 128 - code)


def drop_rights() -> None:
    """Give up all rights over the namespaces, for this process and all that it starts."""
    for capability in range(CAPABILITIES):
        libc().prctl(DROP_CAPABILITY, capability, 0, 0, 0)  # fails for those that do not exist
    check(libc().prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    check(libc().capset(ctypes.byref(header), ctypes.byref(none)))


def control_process(what: int, value: int) -> None:
    """Set a property of this process: that it ends with its parent, or is given orphans."""
    if sys.platform == "linux":
        check(libc().prctl(what, value, 0, 0, 0))


def libc() -> ctypes.CDLL:
    """The C library."""
    return ctypes.CDLL(None, use_errno=True)


def check(result: int) -> None:
    """Raise OSError if a call of the C library failed."""
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def write(path: str, text: str) -> None:
    """Write to a file of the system."""
    with open(path, "w", encoding="ascii") as opened:
        opened.write(text)


if __name__ == "__main__":
    if sys.platform != "linux":
        sys.exit("Namespaces are of Linux.")
    confine(sys.argv[1])
