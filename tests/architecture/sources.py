"""The project's files and their syntax trees, read once."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("statemachine", "producers", "consumers", "orderflow")
_SKIPPED: Final = {".git", ".venv", ".kafka", "__pycache__", "build", "dist"}


@cache
def project_files() -> tuple[Path, ...]:
    """Every file that is, or would be, in the repository."""
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=False
    )
    if listing.returncode == 0:
        files = [ROOT / name for name in listing.stdout.splitlines()]
    else:  # an unpacked archive
        files = [path for path in ROOT.rglob("*") if not _SKIPPED & set(path.relative_to(ROOT).parts)]
    return tuple(sorted(path for path in files if path.is_file()))


@cache
def python_files(*folders: str) -> tuple[Path, ...]:
    """The Python files of the given folders at the top; of all when none is given."""
    return tuple(
        path
        for path in project_files()
        if path.suffix == ".py" and (not folders or path.relative_to(ROOT).parts[0] in folders)
    )


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text())


def name_of(path: Path) -> str:
    """The path as people write it."""
    return str(path.relative_to(ROOT))


def imports(path: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
    return found


def imports_package(path: Path, package: str) -> bool:
    """Whether a file imports a package or a module of it."""
    return any(module == package or module.startswith(f"{package}.") for module in imports(path))
