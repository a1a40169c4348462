"""The dialects, as rows."""

from collections.abc import Mapping

from headgate.core import sse
from headgate.dialects import chat, chat_request, ollama_request, ollama_writer
from headgate.dialects.types import Dialect, Facade

DIALECTS = {
    row.name: row
    for row in (
        Dialect(
            "chat",
            chat_request.parse,
            chat_request.render,
            chat.Reader,
            chat.streamed,
            chat.whole,
            chat.refused,
            chat.broken,
            sse.PING,
        ),
    )
}
FACADES = {
    row.name: row
    for row in (
        Facade(
            "ollama",
            ollama_request.parse_chat,
            ollama_writer.chat_streamed,
            ollama_writer.chat_whole,
            ollama_writer.refused,
            ollama_writer.broken,
            ollama_writer.CHAT_PING,
            ollama_writer.CONTENT_TYPE,
        ),
        Facade(
            "ollama-generate",
            ollama_request.parse_generate,
            ollama_writer.generate_streamed,
            ollama_writer.generate_whole,
            ollama_writer.refused,
            ollama_writer.broken,
            ollama_writer.GENERATE_PING,
            ollama_writer.CONTENT_TYPE,
        ),
    )
}
CALLERS: Mapping[str, Dialect | Facade] = {**DIALECTS, **FACADES}
"""All that a caller may speak."""
