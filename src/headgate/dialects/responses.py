"""OpenAI's Responses API as a dialect: the row that names its parts."""

from headgate.core import sse
from headgate.dialects.responses_reader import Reader
from headgate.dialects.responses_render import render
from headgate.dialects.responses_request import parse
from headgate.dialects.responses_writer import StreamWriter, WholeWriter
from headgate.dialects.types import Dialect

RESPONSES = Dialect("responses", parse, render, Reader, StreamWriter, WholeWriter, sse.PING)
