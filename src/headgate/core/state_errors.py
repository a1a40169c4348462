"""Errors of what is kept of conversations; branches of the tree in `errors.py`."""

from headgate.core.errors import HeadgateError, Invalid, NotFound


class ConversationNotFound(NotFound):
    code = "conversation_not_found"
    title = "No conversation of this id, or somebody else's"
    remedy = "Take an id from `GET /c1/conversations`, with the same key and the same X-User-Id."
    typical_param = "conversation"


class ItemNotFound(NotFound):
    code = "item_not_found"
    title = "The conversation has no such item"
    remedy = "Take an id from the conversation's own items."
    typical_param = "item"


class ResponseNotFound(NotFound):
    code = "response_not_found"
    title = "No stored response of this id, or somebody else's"
    remedy = "Only responses made with `store: true` are kept, until they or their conversation are deleted."
    typical_param = "previous_response_id"


class ConversationMoved(HeadgateError):
    code = "conversation_moved"
    status = 409
    type = "conflict"
    title = "Somebody else has added to the conversation meanwhile"
    remedy = "Read the conversation again, and ask again."
    should_retry = False


class ConversationArchived(HeadgateError):
    """`location` is the same path with the successor's id, once somebody who knows the path has put it there."""

    code = "conversation_archived"
    status = 308
    type = "conflict"
    title = "The id is that of a segment of a conversation, which goes on under another id"
    remedy = "Follow the header `location`, or take the conversation's own id."
    typical_param = "conversation"
    should_retry = False

    def __init__(
        self,
        message: str,
        *,
        member: str = "",
        successor: str = "",
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, param=param, retry_after=retry_after)
        self.member = member
        self.successor = successor
        self.location = ""


class ConversationBusy(HeadgateError):
    code = "conversation_busy"
    status = 409
    type = "conflict"
    title = "Another turn of the conversation is under way"
    remedy = "Wait until it has ended or cancel it; or set what happens to a second turn to `enqueue` or `interrupt`."
    should_retry = False


class ResponseUnfinished(HeadgateError):
    code = "response_unfinished"
    status = 409
    type = "conflict"
    title = "The response is still being made"
    remedy = "Wait until its status is neither `queued` nor `in_progress`, or cancel it."
    typical_param = "previous_response_id"
    should_retry = False


class ResponseNotInBackground(Invalid):
    code = "response_not_in_background"
    title = "Only a response in the background can be cancelled by its id"
    remedy = "Close the connection of the call that makes it; or ask with `background: true`."
    typical_param = "id"


class EventsGone(Invalid):
    code = "events_not_kept"
    title = "The response has no events: it was not made as a stream, or has ended more than a day ago"
    remedy = "Get it without `stream`; or ask with `stream: true`."
    typical_param = "stream"


class StateUnavailable(HeadgateError):
    code = "state_unavailable"
    status = 503
    type = "unavailable"
    title = "Nothing is kept here"
    remedy = "Start the gateway with a data directory or a database."
    should_retry = False


class PreviousResponseNotFound(Invalid):
    code = "previous_response_not_found"
    title = "The response to go on from is not there"
    remedy = "Send the whole conversation in `input`, without `previous_response_id`."
    typical_param = "previous_response_id"


class SocketTooOld(Invalid):
    code = "websocket_connection_limit_reached"
    title = "The WebSocket was open for as long as one may be"
    remedy = "Open a new one, and send what the next response needs in full."


class ActionNotFound(NotFound):
    code = "action_not_found"
    title = "No action of this id, or somebody else's"
    remedy = "Take an id from `GET /a1/actions`, with the same key and the same X-User-Id."
    typical_param = "id"


class ActionAnswered(HeadgateError):
    code = "action_answered"
    status = 409
    type = "conflict"
    title = "The action was answered already"
    remedy = "Each action is answered once; look at it with `GET /a1/actions/{id}`."
    should_retry = False


class ActionExpired(HeadgateError):
    code = "action_expired"
    status = 409
    type = "conflict"
    title = "The time in which the action could be answered is over"
    remedy = "Ask the model again, and answer within the time that `expires` tells."
    should_retry = False


class ActionGone(HeadgateError):
    code = "action_gone"
    status = 409
    type = "conflict"
    title = "The conversation no longer holds what the action asks for"
    remedy = "It was rewound, or the turn was lost: ask the model again."
    should_retry = False


class MemoryNotFound(NotFound):
    code = "memory_not_found"
    title = "No memory of this id, or somebody else's"
    remedy = "Take an id from `GET /v1/memory`, with the same key and the same X-User-Id."
    typical_param = "id"


class MemoryFull(HeadgateError):
    code = "memory_full"
    status = 409
    type = "conflict"
    title = "The user has as many memories as there may be"
    remedy = "Delete some: `DELETE /v1/memory/{id}`."
    should_retry = False
