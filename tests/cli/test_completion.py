"""``orderflow completion``: a real shell that loads the script completes commands and options."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import Command


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("orderflow top", "topics"),
        ("orderflow topics cr", "create"),
        ("orderflow work", "worker"),
        ("orderflow events trigger order.pl", "order.placed"),
        ("orderflow events export --topic dr", "dr-webhooks"),
        ("orderflow simulator faults lose", "lose_webhooks="),
        ("orderflow simulator review A-1001 bl", "block"),
        ("orderflow simulator resend --type order.rev", "order.review_opened"),
    ],
)
def test_bash_completes_what_was_begun(words: str, expected: str) -> None:
    """The script is loaded, and its function is called as bash calls it."""
    folder = Path(sys.executable).parent
    parts = words.split()
    script = (
        'eval "$(orderflow completion bash)"; '
        f"COMP_WORDS=({words}); COMP_CWORD={len(parts) - 1}; _orderflow_completion orderflow; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    ran = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert expected in ran.stdout.split(), ran


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(orderflow: Command, shell: str) -> None:
    """It names our command, and nothing else is printed."""
    made = orderflow("completion", shell)
    assert made.exit_code == 0, made.stderr
    assert "_ORDERFLOW_COMPLETE" in made.stdout
    assert made.stderr == ""


def test_another_shell_is_a_usage_error(orderflow: Command) -> None:
    """With those that exist."""
    refused = orderflow("completion", "tcsh")
    assert refused.exit_code == 2
    assert "bash" in refused.stderr
