"""Where Headgate means to differ from LiteLLM's proxy, and why. All else that both are asked has to be the same.

Paths are those of `litellm_facts`: `sent` is what reached the provider, `calls` how often it was called.
"""

from tests.clients.litellm_facts import MISSING, Difference

_PASSED_ON = "Answers are passed on as the provider wrote them; LiteLLM writes them anew."
_SENT_ON = "Requests are passed on as the caller wrote them; LiteLLM writes them anew."
_OUR_NAME = "Answers carry the name that was asked for; LiteLLM's carry another model's after a fallback."
_LOG = "These headers come with every call that was made, also with one that failed."
_NO_MONEY = "Where no price is known, none is told; nor what a key without a budget has spent."
_INSIDES = "What the gateway has inside, and providers' own headers, stay there."
_NAMES = "Targets without an id of their own are named `upstream/model`; LiteLLM makes a hash."
_TRUE_CAUSE = "Only the caller's own mistakes are told as such; what failed behind the gateway is a 502 or a 504."
_NO_RETRY = "A refusal is not tried again, for it would be refused again; nor a limit in time, which would pass again."
_ELSEWHERE = "No request fails while a target is untried; LiteLLM may try the failing one again instead."
_IN_A_ROW = "A target rests after three failures in a row; LiteLLM lets it rest after the first of these."
_KEYS = "A missing or wrong key is a 401; LiteLLM fails, or speaks of its database."
_ENVELOPE = "Every error is OpenAI's envelope."
_ERRORS = "Errors carry stable codes and name the field at fault; LiteLLM repeats the status as the code."
_MISTAKE = "The caller's mistake is a 400."
_UNKNOWN = "As with OpenAI, a model that is not there is a 404."
_LISTING = "Listings also hold what clients of Anthropic's API read."
_SWITCHES = "LiteLLM's own switches and empty notes have no counterpart."
_TAGS = "Tags that fit no target are the caller's mistake, not a wrong key."
_NO_PRICE = "A gap: behind an address of one's own there is no list price; LiteLLM takes it for OpenAI's."
_DOWN = "fails-gone no-retries-in-header retries-in-* fails-flaky-once fails-500* *-fails-500"
_REFUSED = "fails-403 *fails-422 fails-504 *in-time timeout-in-* stream-timeout-in-header"
_MODELS = "models models-without-v1 model openai-models openai-model"

DIFFERENCES: tuple[Difference, ...] = (
    # Requests
    Difference("*chat-user openai-chat litellm-chat", "sent.*.body.user", _SENT_ON, MISSING, "user-1"),
    Difference("chat-metadata", "sent.*.body.metadata.team", _SENT_ON, MISSING, "blue"),
    Difference("chat-null-fields", "sent.*", _SENT_ON, MISSING, None),
    # Answers
    Difference("*", "*provider_specific_fields*", _PASSED_ON, ours=MISSING),
    Difference("*", "*.logprobs *.finish_reason *.delta.content", _PASSED_ON, MISSING, None),
    Difference("embeddings* openai-embeddings", "*.usage.*", _PASSED_ON, ours=MISSING),
    Difference("*stream-tools", "*.tool_calls.0.type", _PASSED_ON, "function", MISSING),
    Difference("*stream-usage", "*.choices* *.usage.*", "The last chunk has `choices: []` and OpenAI's usage alone."),
    Difference("*-mock", "body.usage.* chunks.*", "Mock answers come word by word, and their tokens are guessed."),
    Difference("*fallback* order context-window content-policy", "*.model", _OUR_NAME),
    Difference("stream-cut", "chunks.* done", "A stream that is cut off ends with an error, not as if it were whole."),
    Difference("openai-stream-cut", "answer* raises status", "The same, as the SDK tells it."),
    # Errors
    Difference("*", "body.error.request_id", "The id by which the log knows the request.", MISSING, "…"),
    Difference("*", "body.error.code body.error.type body.error.param", _ERRORS),
    Difference("unknown-route wrong-method model-unknown model-info-unknown", "body*", _ENVELOPE),
    Difference("no-key list-no-key model-info-no-key", "**", _KEYS, 500, 401),
    Difference("wrong-key odd-key list-wrong-key *-wrong-key", "status", _KEYS, 400, 401),
    Difference("*-wrong-key", "raises", _KEYS, "BadRequestError", "AuthenticationError"),
    Difference("unknown-model *-unknown-model", "status", _UNKNOWN, 400, 404),
    Difference("*-unknown-model", "raises", _UNKNOWN, "BadRequestError", "NotFoundError"),
    Difference("list-body", "**", _MISTAKE, 500, 400),
    Difference("odd-timeout odd-retries", "status", _MISTAKE, 500, 400),
    Difference("empty-messages", "**", "Refused before a provider is asked, which would refuse it.", 200, 400),
    Difference("fails-401 *-fails-401", "status", _TRUE_CAUSE, 401, 502),
    Difference("fails-403 openai-fails-403", "status", _TRUE_CAUSE, 403, 502),
    Difference("litellm-fails-403", "status", _TRUE_CAUSE, 500, 502),
    Difference(_DOWN, "status", "What fails behind a gateway is a 502.", 500, 502),
    Difference(_REFUSED, "status", _TRUE_CAUSE, 408, 504),
    Difference("openai-fails-401 openai-fails-403 openai-in-time", "raises", _TRUE_CAUSE, ours="InternalServerError"),
    Difference("litellm-fails-401 litellm-fails-403 litellm-fails-500", "raises", _TRUE_CAUSE, ours="BadGatewayError"),
    Difference("litellm-filtered", "raises", "The provider's own code is kept.", ours="ContentPolicyViolationError"),
    Difference("fails-422", "**", "LiteLLM answers null, with a good status.", 200, 422),
    Difference("openai-fails-422", "**", "LiteLLM answers null, with a good status.", MISSING, 422),
    Difference("litellm-fails-422", "**", "LiteLLM's SDK cannot read that null.", 500, 422),
    Difference("fails-429*", "headers.retry-after", "SDKs read there how long to wait.", MISSING, "1"),
    # Tries
    Difference(_REFUSED, "calls", _NO_RETRY, 2, 1),
    Difference(_REFUSED, "sent.1.*", _NO_RETRY, ours=MISSING),
    Difference("embeddings-down", "calls", "LiteLLM's client tries each of its tries three times.", 6, 2),
    Difference("embeddings-down", "sent.*", "LiteLLM's client tries each of its tries three times.", ours=MISSING),
    Difference("order", "calls sent.* headers.x-litellm-attempted-*", "The next in order comes before another try."),
    Difference("half-404", "**", _ELSEWHERE, 404, 200),
    Difference("half-503 half-503-again", "**", _ELSEWHERE, 503, 200),
    Difference("half-in-time half-in-time-again", "**", _ELSEWHERE, 408, 200),
    Difference("half-401-again half-404-again", "calls", _IN_A_ROW, 1, 2),
    Difference("half-401-again half-404-again", "sent.* headers.x-litellm-attempted-retries", _IN_A_ROW),
    Difference("fallback-of-refused", "**", "What the caller got wrong, another model is not asked.", 200, 400),
    Difference("fallback-twice", "headers.x-litellm-attempted-fallbacks", "All that were tried are counted.", "1", "2"),
    # Tags
    Difference("tags-unknown tags-for-untagged", "status", _TAGS, 401, 400),
    Difference("tags-none-half-tagged", "sent.0.path", "A target with tags is only for requests with one of them."),
    # Headers
    Difference("*", "headers.llm_provider-* headers.x-litellm-model-api-base", _INSIDES, ours=MISSING),
    Difference("*", "headers.x-litellm-model-name headers.x-litellm-timeout", _INSIDES, ours=MISSING),
    Difference("*", "headers.x-litellm-*-duration-ms headers.x-litellm-max-retries", _INSIDES, ours=MISSING),
    Difference("*", "headers.x-litellm-response-cost* headers.x-litellm-key-spend", _NO_MONEY, ours=MISSING),
    Difference("*", "headers.x-litellm-attempted-* headers.x-litellm-version", _LOG, theirs=MISSING),
    Difference("*", "headers.x-litellm-model-* headers.x-litellm-response-duration-ms", _LOG, theirs=MISSING),
    Difference("*", "headers.x-litellm-call-id headers.x-litellm-version", "Only where a call was made.", ours=MISSING),
    Difference("*", "headers.x-litellm-model-id", _NAMES, theirs="…"),
    Difference("fallback-by-alias", "headers.x-litellm-model-group", "The model's own name.", "other-name", "plain"),
    # Routes and listings
    Difference("chat-azure-path chat-engines-path", "**", "A gap: there are no such routes yet.", 200, 404),
    Difference("ready", "body.*", "Readiness tells how each upstream is; there is no database."),
    Difference(_MODELS, "*.created_at *.display_name *.type *.first_id *.last_id *.has_more", _LISTING, MISSING),
    Difference(_MODELS, "*.mode *.max_*_tokens", "What models can do stands in GET /v1/info.", ours=MISSING),
    Difference(_MODELS, "*.owned_by", "The gateway offers it.", "openai", "headgate"),
    Difference("model-info*", "*.litellm_params.*", "Addresses, headers and defaults stay inside.", ours=MISSING),
    Difference("model-info*", "*.litellm_params.* *.model_info.*", "All that routes is shown.", theirs=MISSING),
    Difference("model-info-one", "body.data.*-name.*", "Aliases are entries as well, with the same id.", MISSING),
    Difference("model-info*", "*.model_info.id *.model_info.key", _NAMES),
    Difference("model-info*", "*.model_info.member_auto_router *.pricing_overrides", _SWITCHES, ours=MISSING),
    Difference("group*", "*.is_public_model_group *.supports_*", _SWITCHES, False, MISSING),
    Difference("group*", "*.supports_*", "What is not known is not claimed.", MISSING, False),
    Difference("model-info* group*", "*.supported_openai_params*", "Fields of a chat that it is known to take."),
    Difference("model-info* group*", "body.data.priced.*_cost*", _NO_PRICE, ours=MISSING),
    Difference("model-info*", "body.data.priced.model_info.supports_*", "Facts that are not kept.", True, MISSING),
    Difference("group*", "body.data.priced.supports_*", "Each knows what the other does not."),
    Difference("group*", "*.supported_reasoning_efforts", _SWITCHES, [], MISSING),
    Difference("model-info* group*", "body.data.tagged.*", "LiteLLM shows what another entry says of the same id."),
)
