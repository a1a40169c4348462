"""`headgate demo-mcp`: an MCP server with five tools whose answers are made up, the same ones each time.

It is there to try agents out, and to test them without the network.
"""

import hashlib
import importlib
import re
from typing import Any

import click

_SKIES = ("sunny", "cloudy", "rainy", "windy", "foggy")
_WORDS = {
    "french": {"hello": "bonjour", "world": "monde", "good": "bon", "morning": "matin", "thank you": "merci"},
    "german": {"hello": "hallo", "world": "Welt", "good": "gut", "morning": "Morgen", "thank you": "danke"},
    "spanish": {"hello": "hola", "world": "mundo", "good": "bueno", "morning": "mañana", "thank you": "gracias"},
}
_GOOD = frozenset(("good", "great", "love", "excellent", "happy", "wonderful"))
_BAD = frozenset(("bad", "terrible", "hate", "awful", "sad", "broken"))


@click.command("demo-mcp")
@click.option(
    "--transport",
    type=click.Choice(("stdio", "sse", "streamablehttp")),
    default="streamablehttp",
    show_default=True,
    help="How it is reached.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8001, show_default=True, help="Port to listen on.")
def command(transport: str, host: str, port: int) -> None:
    """Run a small MCP server with made-up tools: weather, web search, stock prices, text analysis, translation."""
    server = demo_server()
    if transport == "stdio":
        server.run("stdio")
        return
    path = "/sse" if transport == "sse" else "/mcp"
    click.echo(f"The demo MCP server is at http://{host}:{port}{path}; its answers are made up.", err=True)
    if transport == "sse":
        server.run("sse", host=host, port=port)
    else:
        server.run("streamable-http", host=host, port=port)


def demo_server() -> Any:
    """The server, not running yet."""
    mcpserver = importlib.import_module("mcp.server.mcpserver")  # heavy: only this command needs it
    types = importlib.import_module("mcp_types")
    server = mcpserver.MCPServer(
        "headgate-demo", instructions="All answers of these tools are made up; they are for trying things out."
    )
    reads = types.ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True)
    for tool in (get_weather, web_search, get_stock_price, analyze_text, translate):
        server.add_tool(tool, annotations=reads)
    return server


def get_weather(city: str) -> dict[str, Any]:
    """Weather of a city. Demo: made up from the city's name, the same each time."""
    number = _number(city.lower())
    return {"city": city, "celsius": number % 35 - 5, "sky": _SKIES[number % len(_SKIES)], "demo": True}


def web_search(query: str, limit: int = 3) -> dict[str, Any]:
    """Search the web. Demo: no search takes place, the results are made up."""
    number = _number(query)
    results = [
        {"title": f"Demo result {at} for {query}", "url": f"https://example.com/{number % 9973}/{at}"}
        for at in range(1, min(max(limit, 1), 10) + 1)
    ]
    return {"query": query, "results": results, "demo": True}


def get_stock_price(symbol: str) -> dict[str, Any]:
    """Price of a share. Demo: made up from the symbol, the same each time."""
    return {"symbol": symbol.upper(), "usd": round(_number(symbol.upper()) % 50_000 / 100 + 1, 2), "demo": True}


def analyze_text(text: str) -> dict[str, Any]:
    """Count words, sentences and characters of a text and guess its mood. Demo: the mood is a count of few words."""
    words = re.findall(r"\w+", text.lower())
    mood = sum(word in _GOOD for word in words) - sum(word in _BAD for word in words)
    return {
        "words": len(words),
        "characters": len(text),
        "sentences": len(re.findall(r"[.!?]+(?:\s|$)", text)) or (1 if words else 0),
        "mood": "positive" if mood > 0 else "negative" if mood < 0 else "neutral",
        "demo": True,
    }


def translate(text: str, language: str) -> dict[str, Any]:
    """Translate a text into French, German or Spanish. Demo: it knows five words, the rest stays as it is."""
    words = _WORDS.get(language.lower(), {})
    translated = text
    for word, other in words.items():
        translated = re.sub(rf"\b{word}\b", other, translated, flags=re.IGNORECASE)
    return {"text": translated, "language": language, "known_language": bool(words), "demo": True}


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])
