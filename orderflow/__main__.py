"""``orderflow`` and ``python -m orderflow``: checks that the packages are orderflow's own, then runs the command line.

Imports next to nothing before the signals are handled.
"""

from __future__ import annotations

import importlib
import sys

from orderflow.process.early_signals import end_on_early_signals

#: Our packages with names that others may use, too.
_PACKAGES = ("statemachine", "producers", "consumers")
#: A project on PyPI that is imported under the name of one of our packages.
_NAMESAKE = "python-statemachine"
_USAGE = 2


def main() -> None:
    """Run the command line; nothing that it meets is printed with a value of a record.

    From its first moment on a service ends in good order, and Ctrl-C ends every command without a traceback.
    """
    end_on_early_signals(sys.argv[1] if len(sys.argv) > 1 else "")
    fault = next((fault for fault in map(foreign, _PACKAGES) if fault is not None), None)
    if fault is not None:
        sys.stderr.write(f"orderflow: {fault}\n")
        sys.exit(_USAGE)
    from orderflow.cli import main as command_line
    from orderflow.process.faults import install_hooks

    install_hooks()
    command_line(prog_name="orderflow")


def foreign(package: str) -> str | None:
    """Why the package of this name that Python finds is not ours, and what helps, in one line; None when it is ours."""
    try:
        found = importlib.import_module(package)
    except Exception as error:  # noqa: BLE001  # whatever a mixture of two packages raises
        what, where = f"cannot be imported ({type(error).__name__})", ""
    else:
        if getattr(found, "PROJECT", None) == "orderflow":
            return None
        what, where = "is not orderflow's", next(iter(getattr(found, "__path__", ())), "")
    place = f" in {where}" if where else ""
    if package == "statemachine":
        return (
            f"the package {package}{place} {what}: {_NAMESAKE} uses the same name, and the two cannot be installed side by side; "
            f"uninstall {_NAMESAKE}, then install orderflow again, best into an environment of its own"
        )
    return (
        f"the package {package}{place} {what}: Python finds another one of the same name first; start orderflow in another "
        "folder, without PYTHONPATH, and install it into an environment of its own"
    )


if __name__ == "__main__":
    main()
