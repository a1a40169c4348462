"""A day of an operator with LiteLLM's own client: what it gave back, as one JSON object. Arguments: address and key."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"] = "True"

from litellm.proxy.client import Client, UsersManagementClient
from litellm.proxy.client.health import HealthManagementClient

HI = [{"role": "user", "content": "Hi"}]
url, key = sys.argv[1:]
client = Client(base_url=url, api_key=key)
users = UsersManagementClient(base_url=url, api_key=key)


def raised(call: Callable[[], Any]) -> str:
    """Which exception a call raises."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - which one it is, is the question
        return type(error).__name__
    return ""


seen: dict[str, Any] = {
    "version": HealthManagementClient(base_url=url).get_server_version(),
    "models": [one["id"] for one in client.models.list()],
    "infos": [one["model_name"] for one in client.models.info()],
    "model": client.models.get(model_name="small")["model_name"],
    "groups": [one["model_group"] for one in client.model_groups.info()],
}
made = client.keys.generate(models=["small"], key_alias="ci", duration="30d", user_id="ann")
text, hashed = made["key"], made["token"]
other = Client(base_url=url, api_key=text)
seen["chat"] = other.chat.completions("small", HI)["choices"][0]["message"]["content"]
seen["stream"] = "".join(
    chunk["choices"][0]["delta"].get("content") or ""
    for chunk in other.chat.completions_stream("small", HI)
    if chunk["choices"]
)
seen["key"] = client.keys.info(hashed)
client.keys.update(key=text, key_alias="renamed", models=["small", "other"])
seen["keys"] = client.keys.list(return_full_object=True, size=10, page=1, include_team_keys=True)
seen["of_alias"] = client.keys.list(key_alias="renamed")["keys"]
seen["of_hash"] = client.keys.list(key_hash=hashed)["keys"]
seen["aliases_refused"] = raised(lambda: client.keys.generate(aliases={"a": "b"}))
seen["wrong_key"] = raised(Client(base_url=url, api_key="sk-of-nobody-at-all").keys.list)
seen["new_model_refused"] = raised(lambda: client.models.new("m", {"model": "openai/m"}))
seen["missing_model"] = raised(lambda: client.models.delete("m"))
client.http.request("POST", "/team/new", json={"team_id": "blue", "team_alias": "Blue", "max_budget": 5})
created = users.create_user({"user_id": "ben", "user_email": "ben@example.org", "teams": ["blue"], "max_budget": 1})
seen["created"] = created
seen["teams"] = client.teams.list()
seen["page"] = client.teams.list_v2(team_alias="blu")
seen["available"] = client.teams.get_available()
seen["users"] = users.list_users()
seen["user"] = users.get_user("ben")
seen["user_v2"] = users.get_user_v2("ben")
seen["missing_user"] = raised(lambda: users.get_user("nobody"))
seen["deleted_user"] = users.delete_user(["ben"])
seen["deleted"] = client.keys.delete(keys=[text])
seen["closed"] = raised(other.models.list)
sys.stdout.write(json.dumps(seen))
