"""Where the coverage-guided fuzzer starts: one small good example of everything it reads."""

from pathlib import Path

SEEDS = {
    "chat": b'\0\0{"model":"a","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{}}',
    "escaped": b'\0\0{"messages":[{"role":"user","content":[{"type":"text"}]}],"\\u006dodel":"a"}',
    "nested": b'\0\2{"model":"a","input":[1,2],"x":{"model":"b"},"prompt":"p","query":"q","documents":[]}',
    "form": b'\2--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nsmall\r\n--b--\r\n',
    "events": b"\3\7data: {}\n\n: ping\r\n\r\ndata: [DONE]\n\n",
}


def write(folder: Path) -> None:
    folder.mkdir()
    for name, seed in SEEDS.items():
        (folder / name).write_bytes(seed)
