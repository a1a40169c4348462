"""The dialects, as rows."""

from headgate.core import sse
from headgate.dialects import (
    chat,
    chat_request,
    compaction,
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
            chat.Reader,
            chat.streamed,
            chat.whole,
            chat.refused,
            chat.broken,
            sse.PING,
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
