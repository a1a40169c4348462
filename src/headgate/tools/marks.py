"""Marks that models take for control, such as `<|im_start|>` or `[INST]`, broken up in text that tools bring in.

Model servers on one's own machines turn such marks into control tokens wherever they stand in a prompt, so a page on
the web could end its tool message and speak as the user or the system. A space behind the first character takes that
away and leaves the text readable. Linear in the text, however hostile.
"""

import re

_NAMES = (
    *("s", "bos", "eos", "pad", "unk", "mask", "cls", "sep", "sys", "eod", "eot"),
    *("start_of_turn", "end_of_turn", "start_of_image", "start_header_id", "end_header_id", "end_of_utterance"),
    *("tool", "tools", "tool_call", "tool_calls", "tool_use", "tool_response", "tool_result", "tool_results"),
    *("function", "functions", "function_call", "function_calls", "function_results", "function_response"),
    *("invoke", "antml:invoke", "antml:function_calls", "think", "thinking", "reasoning"),
    *("system", "user", "assistant", "developer", "human", "instructions", "system-reminder", "system_prompt"),
)
_BRACKETS = (
    *("INST", "SYS", "SYSTEM", "SYSTEM_PROMPT", "TOOL_CALLS", "TOOL_CONTENT", "TOOL_RESULTS", "AVAILABLE_TOOLS"),
    *("ARGS", "CALL_ID", "THINK", "IMG", "PREFIX", "SUFFIX", "MIDDLE", "MODEL_SETTINGS"),
)
_MARK = re.compile(
    rf"""<(?=
            [|\uff5c][^\s<>|\uff5c]{{1,64}}[|\uff5c]>                       # <|im_start|>, and DeepSeek's wide bars
          | [|\uff5c]/?[A-Za-z][\w \u2581]{{0,64}}[|\uff5c]>
          | /?(?=[a-z])(?:{"|".join(_NAMES)})(?:[\s=/][^<>]{{0,200}})?>
          | </?SYS>>
        )
      | \[(?=/?(?:{"|".join(_BRACKETS)})\])""",
    re.IGNORECASE | re.VERBOSE,
)
_TURN = re.compile(r"^([ \t]*)(Human|Assistant|System)(:)", re.MULTILINE)


def defused(text: str) -> str:
    """The text with a space in each such mark, and in `Human:` and its kind at the beginning of a line."""
    if "<" in text or "[" in text:
        text = _MARK.sub(r"\g<0> ", text)
    return _TURN.sub(r"\1\2 \3", text) if ":" in text else text
