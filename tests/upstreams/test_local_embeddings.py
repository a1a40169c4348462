"""The packaged embedding model: real weights, in the local model's process, through the whole gateway."""

import base64
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import openai
import pytest

from headgate.config.discovery import LOCAL_EMBEDDING_NAME, has_packaged_embeddings, has_packaged_model
from headgate.upstreams.minilm_model import Minilm
from tests.harness.process import Process, Processes
from tests.knowledge import files
from tests.requirements import covers

pytestmark = [
    covers("local-embeddings"),
    pytest.mark.skipif(
        not (has_packaged_model() and has_packaged_embeddings()) or not Path("/proc").is_dir(),
        reason="needs the packages of the local models, and a system with /proc",
    ),
]
ASKED = "How do I reset my password?"
MEANT = "I forgot my login and have to change the secret word"
OTHER = "The cat sat in the sun and watched the sparrows"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """`headgate serve` without any configuration."""
    processes = Processes(tmp_path_factory.mktemp("embeddings"))
    yield processes.serve()
    processes.stop()


@pytest.fixture
def sdk(served: Process) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0, timeout=50) as client:
        yield client


def vectors(sdk: openai.OpenAI, *texts: str) -> list[list[float]]:
    answer = sdk.embeddings.create(model=LOCAL_EMBEDDING_NAME, input=list(texts), encoding_format="float")
    assert [one.index for one in answer.data] == list(range(len(texts)))
    return [one.embedding for one in answer.data]


def product(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def loaded_libraries(served: Process) -> str:
    """The maps of every process that the server started."""
    found = ""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            found += (folder / "maps").read_text() if parent == served.popen.pid else ""
        except OSError:
            continue
    return found


def test_it_is_loaded_with_the_first_call_and_in_another_process(served: Process, sdk: openai.OpenAI) -> None:
    assert LOCAL_EMBEDDING_NAME in {one.id for one in sdk.models.list()}
    sdk.chat.completions.create(model="smollm2-135m", messages=[{"role": "user", "content": "Hi"}], max_tokens=1)
    assert "onnxruntime" not in loaded_libraries(served)
    vectors(sdk, ASKED)
    assert "onnxruntime" in loaded_libraries(served)
    assert "onnxruntime" not in Path(f"/proc/{served.popen.pid}/maps").read_text()


def test_a_paraphrase_is_closer_than_what_is_unrelated(sdk: openai.OpenAI) -> None:
    asked, meant, other = vectors(sdk, ASKED, MEANT, OTHER)
    assert product(asked, meant) > 0.4 > 0.2 > product(asked, other)
    assert [len(one) for one in (asked, meant, other)] == [384] * 3
    assert product(asked, asked) == pytest.approx(1.0, abs=1e-5)


def test_a_text_has_the_same_vector_whatever_stands_beside_it(sdk: openai.OpenAI) -> None:
    assert vectors(sdk, ASKED)[0] == vectors(sdk, OTHER, ASKED, "word " * 90)[1]


def test_base64_holds_the_same_numbers(sdk: openai.OpenAI) -> None:
    raw = sdk.embeddings.with_raw_response.create(model=LOCAL_EMBEDDING_NAME, input=ASKED, encoding_format="base64")
    packed = base64.b64decode(raw.http_response.json()["data"][0]["embedding"])
    assert list(struct.unpack("<384f", packed)) == pytest.approx(vectors(sdk, ASKED)[0], abs=1e-7)
    usual = sdk.embeddings.create(model=LOCAL_EMBEDDING_NAME, input=ASKED)  # the SDK asks for base64 and decodes
    assert len(usual.data[0].embedding) == 384


def test_usage_counts_what_was_read_and_a_text_that_was_cut_is_named(sdk: openai.OpenAI) -> None:
    short = sdk.embeddings.create(model=LOCAL_EMBEDDING_NAME, input=["hello world", "hello"])
    assert short.usage.prompt_tokens == short.usage.total_tokens == 4 + 3  # with the marks of begin and end
    assert "truncated" not in (short.model_extra or {})
    long = sdk.embeddings.create(model=LOCAL_EMBEDDING_NAME, input=["hello", "hello " * 400])
    assert long.usage.prompt_tokens == 3 + 256
    assert (long.model_extra or {})["truncated"] == {"tokens": 256, "indices": [1]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": "  "}, "input"),
        ({"input": ["good", ""]}, "input[1]"),
        ({"input": [[1, 2, 3]]}, "input[0]"),
        ({"input": ["text"] * 2049}, "input"),
        ({"input": "text", "dimensions": 100}, "dimensions"),
    ],
)
def test_what_it_cannot_answer_is_refused_with_the_field(
    sdk: openai.OpenAI, fields: dict[str, object], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.embeddings.create(model=LOCAL_EMBEDDING_NAME, **fields)  # type: ignore[arg-type]
    assert refused.value.param == param


def test_documents_are_found_by_meaning_without_any_other_model_or_network(served: Process) -> None:
    headers = {"authorization": f"Bearer {served.key}"}
    with httpx.Client(base_url=f"{served.url}/a1/rag", headers=headers, timeout=30) as http:
        index = http.post("/indices", json={"name": "desk"}).json()
        assert (index["embedding_model"], index["mode"]) == (LOCAL_EMBEDDING_NAME, "hybrid")
        documents = [{"id": "login", "text": MEANT}, {"id": "cat", "text": OTHER}]
        assert http.post("/indices/desk/documents", json={"documents": documents}).status_code == 200
        file = {"files": ("log.pdf", files.pdf(), "application/pdf")}
        assert http.post("/indices/desk/documents:add", files=file).status_code == 201
        for asked, found in ((ASKED, "login"), ("felines watching birds", "cat"), ("vessels near the coast", "doc_")):
            first = http.post("/indices/desk/query", json={"query": asked}).json()["data"][0]
            assert first["document"].startswith(found)
            assert first["ranks"]["vector"] == 1


def test_it_does_not_chat(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="makes embeddings and nothing else"):
        sdk.chat.completions.create(model=LOCAL_EMBEDDING_NAME, messages=[{"role": "user", "content": "Hi"}])


def test_marks_of_the_vocabulary_in_a_text_are_text() -> None:
    model = Minilm(1)
    assert model.vector("a [SEP] b")[1] > model.vector("a b")[1] + 1
