"""Errors of what is kept of conversations; branches of the tree in `errors.py`."""

from headgate.core.errors import HeadgateError, NotFound


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


class ConversationBusy(HeadgateError):
    code = "conversation_busy"
    status = 409
    type = "conflict"
    title = "Another turn of the conversation is under way"
    remedy = "Wait until it has ended or cancel it; or set what happens to a second turn to `enqueue` or `interrupt`."
    should_retry = False
