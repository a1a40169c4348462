"""The dialects, as rows."""

from collections.abc import Mapping

from headgate.core import sse
from headgate.dialects import (
    chat,
    chat_reader,
    chat_request,
    compaction,
    messages_reader,
    messages_request,
    messages_whole,
    messages_words,
    messages_writer,
    ollama_request,
    ollama_writer,
    responses_reader,
    responses_render,
    responses_request,
    responses_writer,
)
from headgate.dialects.types import Dialect, Facade

DIALECTS = {
    row.name: row
    for row in (
        Dialect(
            "chat",
            chat_request.parse,
            chat_request.render,
            chat_reader.Reader,
            chat.StreamWriter,
            chat.WholeWriter,
            chat.refused,
            chat.broken,
            sse.PING,
        ),
        Dialect(
            "messages",
            messages_request.parse,
            messages_request.render,
            messages_reader.Reader,
            messages_writer.StreamWriter,
            messages_whole.WholeWriter,
            messages_words.refused,
            messages_words.broken,
            messages_words.PING,
        ),
        Dialect(
            "responses",
            responses_request.parse,
            responses_render.render,
            responses_reader.Reader,
            responses_writer.StreamWriter,
            responses_writer.WholeWriter,
            responses_writer.refused,
            responses_writer.broken,
            sse.PING,
        ),
        Dialect(
            "compaction",
            compaction.parse,
            responses_render.render,
            responses_reader.Reader,
            compaction.SummaryWriter,
            compaction.SummaryWriter,
            responses_writer.refused,
            responses_writer.broken,
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
