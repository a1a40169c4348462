"""The text of a key is in no file that a gateway writes."""

from pathlib import Path

from tests.conftest import settings_for
from tests.harness.admin import administered, bearer
from tests.harness.stub import Stub
from tests.requirements import covers

pytestmark = covers("111")

PLANTED = "sk-planted-Zq7wE3rT9yU1iO5p"


async def test_no_file_holds_a_key_while_the_gateway_runs_nor_after(stub: Stub, tmp_path: Path) -> None:
    async with administered(settings_for(stub), tmp_path) as gateway:
        texts = [PLANTED]
        made = (await gateway.http.post("/key/generate", json={"key": PLANTED, "key_alias": "planted"})).json()
        texts.append((await gateway.http.post("/admin/keys", json={"alias": "drawn"})).json()["key"])
        rotated = await gateway.http.post(f"/admin/keys/{made['token']}/rotate", json={"grace": "1h"})
        texts.append(rotated.json()["key"])
        for text in texts:
            assert (await gateway.http.get("/v1/models", headers=bearer(text))).status_code == 200
        assert found_in(tmp_path, b"planted")  # the alias: what is looked for would be found
        assert not any(found_in(tmp_path, text.encode()) for text in texts)
        answers = [
            await gateway.http.get(path)
            for path in ("/admin/keys", f"/admin/keys/{made['token']}", "/key/list?return_full_object=true", "/metrics")
        ]
        assert not any(text in answer.text for text in texts for answer in answers)
        await gateway.http.delete(f"/admin/keys/{made['token']}")
    assert not any(found_in(tmp_path, text.encode()) for text in texts)


def found_in(folder: Path, text: bytes) -> list[Path]:
    """The files that hold a text, or the end of one that is too long to be kept whole."""
    return [path for path in folder.rglob("*") if path.is_file() and text[-16:] in path.read_bytes()]
