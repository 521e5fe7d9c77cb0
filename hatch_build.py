"""Compiles the pure core and the order lane's step with mypyc, for ``make compiled``.

Hatchling runs it when it builds a wheel with ``HATCH_BUILD_HOOK_ENABLE_CUSTOM=1`` in the environment; without, the wheel is pure
Python and nothing here is imported. The compiled wheel has the sources too: an import takes an extension before a source.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: What every event passes through. The rest costs nothing when it is interpreted.
HOT: Final = (
    "consumers/orders/logic.py",
    "consumers/orders/working_orders.py",
    "producers/outbox.py",
    "producers/partitioner.py",
    "statemachine/aftersale/*.py",
    "statemachine/decide.py",
    "statemachine/drafts/*.py",
    "statemachine/effects/*.py",
    "statemachine/holding.py",
    "statemachine/messages/decoding.py",
    "statemachine/messages/identity.py",
    "statemachine/messages/money.py",
    "statemachine/messages/times.py",
    "statemachine/order/snapshot.py",
    "statemachine/order/snapshot_parts.py",
    "statemachine/triggers.py",
    "statemachine/waits/*.py",
)
#: 3 compiles half as fast and gains nothing that can be measured.
OPTIMISATION: Final = "2"


def compiled_sources(root: Path) -> Iterator[Path]:
    """The modules that are compiled, relative to ``root``.

    None that defines a struct or a model is among them: mypyc keeps ``type`` of an annotation like ``str | None``, from which
    msgspec and pydantic build what decodes, so that no record could be read. None is a package's ``__init__`` either.
    """
    for pattern in HOT:
        for path in sorted(root.glob(pattern)):
            if path.name != "__init__.py" and not _has_fields_at_run_time(path):
                yield path.relative_to(root)


def _has_fields_at_run_time(path: Path) -> bool:
    """Whether the annotations of a class in it are read when the program runs."""
    classes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
    return any(
        {"NamedTuple"} != set(map(ast.unparse, one.bases)) and (one.bases or one.decorator_list) for one in classes
    )


class CompiledCore(BuildHookInterface):  # type: ignore[type-arg]  # generic in hatchling's stubs only
    """Adds the extension modules to the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and name the platform in the wheel's tag."""
        from mypyc.build import mypycify
        from setuptools import Distribution
        from setuptools.command.build_ext import build_ext

        root, made = Path(self.root), Path(mkdtemp(prefix="orderflow-compiled-"))
        sources = [str(path) for path in compiled_sources(root)]
        extensions = mypycify(
            sources, opt_level=OPTIMISATION, debug_level="0", group_name="orderflow", target_dir=str(made / "c")
        )
        command = build_ext(Distribution({"name": "orderflow", "ext_modules": extensions}))
        command.build_lib, command.build_temp = str(made / "lib"), str(made / "temp")
        command.ensure_finalized()
        command.run()
        build_data["pure_python"], build_data["infer_tag"] = False, True
        for path in (made / "lib").rglob("*"):
            if path.is_file():
                build_data["force_include"][str(path)] = str(path.relative_to(made / "lib"))
