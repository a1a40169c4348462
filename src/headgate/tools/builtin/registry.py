"""The tools that come with the gateway, by group."""

from headgate.tools.builtin.compute import COMPUTE
from headgate.tools.types import Tool


def builtin_tools() -> list[Tool]:
    return [*COMPUTE]
