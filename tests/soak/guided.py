"""Coverage-guided fuzzing (atheris, libFuzzer) of everything that reads bytes from outside: bodies, forms, events.

`python -m tests.soak.guided -runs=N`. Ends with a traceback at the first input that breaks a promise:
a body is refused with a 4xx or what is sent on is the same object but for the model; events lose no byte.
"""

import sys

import atheris

with atheris.instrument_imports(include=["headgate.core"]):
    import orjson

    from headgate.core import form, splice, sse, surfaces
    from headgate.core.errors import RequestError
    from headgate.core.request import Changes, parse_json
    from headgate.core.tokens import reported

SURFACES = [surface for surface in surfaces.SURFACES if not surface.form]


def read_json(data: bytes) -> None:
    surface = SURFACES[data[0] % len(SURFACES)]
    try:
        request = parse_json(surface, data[1:])
    except RequestError as error:
        assert 400 <= error.status < 500
        return
    _, sent = request.body_for("another/model", ask_usage=bool(data[0] & 128))
    fields = orjson.loads(sent)
    assert fields.pop("model") == "another/model"
    asked = fields.pop("stream_options", None)
    before = dict(request.fields)
    before.pop("model", None)
    options = before.pop("stream_options", None)
    assert fields == before
    assert asked == options or asked == {**(options or {}), "include_usage": True}
    reported(request.fields)
    dropped = frozenset(list(request.fields)[::2]) - {"model", "stream_options"}
    _, changed = request.body_for("another/model", changes=Changes({"seed": 7, "ключ": [1]}, dropped))
    kept = {name: value for name, value in request.fields.items() if name not in dropped}
    assert orjson.loads(changed) == {**kept, "model": "another/model", "seed": 7, "ключ": [1]}
    for member in splice.members(request.raw):
        orjson.loads(request.raw[member.start : member.end])


def read_form(data: bytes) -> None:
    try:
        parsed = form.parse(data, "multipart/form-data; boundary=b")
    except RequestError as error:
        assert 400 <= error.status < 500
        return
    if "model" in parsed.texts:
        before = {name: text for name, text in parsed.texts.items() if name != "model"}
        changed = form.changed(data, parsed, {"model": "another"}, ())
        after = form.parse(changed, "multipart/form-data; boundary=b").texts
        assert after == {**before, "model": "another"}


def read_events(data: bytes) -> None:
    splitter = sse.Splitter()
    cut = data[0] % (len(data) + 1)
    complete = splitter.feed(data[1:cut]) + splitter.feed(data[max(1, cut) :])
    assert complete + splitter.rest == data[1:]
    assert b"".join(sse.events(complete)) == complete
    for event in sse.events(complete):
        sse.data_of(event)


READERS = (read_json, read_json, read_form, read_events)


def check(data: bytes) -> None:
    if len(data) > 2:
        READERS[data[0] % len(READERS)](data[1:])


if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
