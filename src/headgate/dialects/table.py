"""The dialects, as rows."""

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
    responses_reader,
    responses_render,
    responses_request,
    responses_writer,
)
from headgate.dialects.types import Dialect

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
