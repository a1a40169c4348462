"""The dialects, as rows."""

from headgate.core import sse
from headgate.dialects import chat, chat_request
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
    )
}
