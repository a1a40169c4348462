"""Twenty long dialogues in which facts are planted that somebody who goes on would need.

A fact is told once, by whoever it says, and then the talk goes on about other things. `needle` are the words by which
one sees that it is still known. Of a correction and of a change of mind that is the value that holds in the end.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

TURNS = 42


class Fact(NamedTuple):
    kind: str
    turn: int
    by: str
    text: str
    needle: str


class Dialogue(NamedTuple):
    topic: str
    facts: tuple[Fact, ...]


def _of(topic: str, *facts: tuple[str, int, str, str, str]) -> Dialogue:
    return Dialogue(topic, tuple(Fact(*one) for one in facts))


I, D, C, R, M = "identifier", "decision", "correction", "constraint", "change of mind"  # noqa: E741
U, A, T = "user", "assistant", "tool"
DIALOGUES = (
    _of(
        "moving a shop's database",
        (I, 2, T, "connected to host db-prod-7.shop.internal as role migrator_rw", "db-prod-7.shop.internal"),
        (D, 5, A, "We decided to copy the orders table first, because it is the largest.", "orders table first"),
        (R, 7, U, "You must never lock the customers table during opening hours.", "never lock the customers table"),
        (C, 11, U, "I was wrong before, the correct port is 5433 and not 5432.", "5433"),
        (M, 24, U, "I changed my mind: use logical replication instead of a dump.", "logical replication"),
    ),
    _of(
        "a journey to Norway",
        (I, 1, A, "The booking is confirmed under the reference QX7T2L.", "QX7T2L"),
        (D, 6, U, "We decided on the night train from Oslo to Bergen.", "night train"),
        (R, 8, U, "Remember that my daughter is allergic to peanuts, so no food with them.", "allergic to peanuts"),
        (C, 12, A, "Correction: the ferry leaves at 14:35, not at 13:55 as I said.", "14:35"),
        (M, 22, U, "On second thought we would rather rent a car instead of cycling to Voss.", "rent a car"),
    ),
    _of(
        "a parser that fails",
        (I, 3, T, "FAILED tests/parser/test_nested.py::test_depth_limit - RecursionError", "test_depth_limit"),
        (D, 4, A, "Decided: the parser becomes iterative, with a stack of its own.", "iterative"),
        (R, 9, U, "It has to stay compatible with Python 3.11, that is a must.", "Python 3.11"),
        (C, 13, U, "Actually the limit is 2048 levels, not 1024, sorry.", "2048"),
        (M, 26, U, "Forget the flag; I want an environment variable instead: PARSER_MAX_DEPTH.", "PARSER_MAX_DEPTH"),
    ),
    _of(
        "an invoice that was paid twice",
        (I, 1, U, "It is about invoice INV-2024-00318 of the printing house.", "INV-2024-00318"),
        (D, 6, A, "We agreed to ask for a refund and not for a credit note.", "ask for a refund"),
        (R, 10, U, "The letter must not mention our bank.", "not mention our bank"),
        (C, 14, T, "amount_paid: 1847.20 EUR (an earlier report of 1874.20 was wrong)", "1847.20"),
        (M, 21, U, "I changed my mind, send it by registered mail instead of e-mail.", "registered mail"),
    ),
    _of(
        "a garden for dry summers",
        (I, 2, A, "The hose fitting that you need has the part number GK-8841-B.", "GK-8841-B"),
        (D, 7, U, "We decided to plant lavender along the south wall.", "lavender along the south wall"),
        (R, 9, U, "Nothing may be taller than 120 cm there, the neighbour insists.", "120 cm"),
        (C, 15, A, "I have to correct myself: the soil test says pH 7.8, not 6.8.", "7.8"),
        (M, 25, U, "Actually no pond after all; a gravel bed instead.", "gravel bed"),
    ),
    _of(
        "releases of a small library",
        (I, 3, T, "commit 9f3c2ab1 tagged v4.2.0 by release-bot", "9f3c2ab1"),
        (D, 5, A, "Decision: changes that break things wait for version 5.", "wait for version 5"),
        (R, 8, U, "No release on Fridays, that is a rule here.", "No release on Fridays"),
        (C, 12, U, "Wrong, the package is called tidewater-core, not tidewater.", "tidewater-core"),
        (M, 23, U, "Let us drop the changelog generator and write it by hand instead.", "by hand"),
    ),
    _of(
        "the network of an office",
        (I, 1, T, "device sw-floor3 has serial FOC2231X0QP and address 10.20.3.14", "FOC2231X0QP"),
        (D, 6, A, "We decided that guests get a network of their own, VLAN 40.", "VLAN 40"),
        (R, 11, U, "The printers must not be reachable from the guests' network.", "printers must not be reachable"),
        (C, 13, A, "Correction, the gateway is 10.20.3.254 and not 10.20.3.1.", "10.20.3.254"),
        (M, 24, U, "I would now rather use certificates instead of passwords for the Wi-Fi.", "certificates"),
    ),
    _of(
        "a wedding for eighty people",
        (I, 2, U, "The hall's contract has the number K-5520/26.", "K-5520/26"),
        (D, 4, U, "We decided on the buffet, not the menu.", "buffet"),
        (R, 9, U, "There must be no loud music after 22:30.", "22:30"),
        (C, 14, U, "It is 84 guests, I miscounted when I said 80.", "84 guests"),
        (M, 27, U, "We changed our minds about the band: a string quartet instead.", "string quartet"),
    ),
    _of(
        "a slow query",
        (I, 3, T, "Seq Scan on shipments, 4812 ms, filter on carrier_ref", "carrier_ref"),
        (D, 5, A, "Decided: a partial index on open shipments.", "partial index"),
        (R, 10, U, "Writes must not become slower than 3 ms.", "3 ms"),
        (C, 12, T, "rows: 48,210,334 (the estimate of 4,821,033 was off by ten)", "48,210,334"),
        (M, 22, U, "Rather create it concurrently instead of in the maintenance window.", "concurrently"),
    ),
    _of(
        "learning for an exam",
        (I, 1, U, "The course is called CHEM-214 and the room is B3.07.", "CHEM-214"),
        (D, 7, A, "We agreed that you repeat equilibria on Tuesdays.", "equilibria on Tuesdays"),
        (R, 8, U, "I can never study after eight in the evening.", "after eight in the evening"),
        (C, 11, U, "The exam is on 17 June, I wrongly said 19 June.", "17 June"),
        (M, 25, U, "I changed my mind about flash cards, old exams instead please.", "old exams"),
    ),
    _of(
        "a novel's second chapter",
        (I, 2, A, "In the first draft the ship is called Meridian Vey.", "Meridian Vey"),
        (D, 6, U, "Decided: the chapter is told by the brother.", "told by the brother"),
        (R, 9, U, "No one may die before chapter nine, that is fixed.", "before chapter nine"),
        (C, 13, U, "She is forty-one, not forty, I got that wrong.", "forty-one"),
        (M, 23, U, "Let the letter burn instead of being found.", "letter burn"),
    ),
    _of(
        "alerts at night",
        (I, 3, T, "alert HighErrorRate fired by rule /etc/alerts/payments.yml:37", "/etc/alerts/payments.yml:37"),
        (D, 4, A, "We decided to page only after five minutes of errors.", "five minutes of errors"),
        (R, 10, U, "Nobody must be woken for the staging system.", "staging system"),
        (C, 14, A, "Correction: the threshold is 0.8 percent, not 8 percent.", "0.8 percent"),
        (M, 26, U, "Send it to the channel #ops-night instead of by SMS.", "#ops-night"),
    ),
    _of(
        "a flat to let",
        (I, 1, U, "The flat has the number 3-0417 in the land register.", "3-0417"),
        (D, 5, U, "We decided to let it furnished.", "let it furnished"),
        (R, 8, U, "The cellar must stay ours and is not to be let.", "cellar must stay ours"),
        (C, 12, U, "It measures 68.5 square metres, not 86.5.", "68.5"),
        (M, 21, U, "Rather two years instead of an open contract.", "two years"),
    ),
    _of(
        "a robot arm",
        (I, 2, T, "controller firmware RX-3.9.14b, joint 4 offset 0x1F2C", "0x1F2C"),
        (D, 6, A, "Decided: we calibrate joint four cold, before the first shift.", "calibrate joint four cold"),
        (R, 11, U, "Speed must not exceed 250 mm per second near people.", "250 mm"),
        (C, 15, U, "The gripper weighs 1.35 kg, I was wrong with 1.53.", "1.35 kg"),
        (M, 24, U, "Use the vacuum gripper instead of the fingers after all.", "vacuum gripper"),
    ),
    _of(
        "a charity's newsletter",
        (I, 3, A, "The list is stored under the id lst_8c41d0.", "lst_8c41d0"),
        (D, 5, U, "We decided to send it on the first Sunday of a month.", "first Sunday"),
        (R, 9, U, "Names of children must never appear in it.", "Names of children must never appear"),
        (C, 13, U, "Our new address is 12 Harrow Lane, not 21.", "12 Harrow Lane"),
        (M, 22, U, "No photo on top after all, a quotation instead.", "a quotation instead"),
    ),
    _of(
        "billing of a telephone system",
        (I, 1, T, "tariff TRF-B2-0093, prefix +49 30 5557", "TRF-B2-0093"),
        (D, 7, A, "Decision: calls are rounded up to six seconds.", "rounded up to six seconds"),
        (R, 10, U, "Emergency calls must always be free.", "Emergency calls must always be free"),
        (C, 12, A, "I correct: the minute costs 0.0185, not 0.0158.", "0.0185"),
        (M, 25, U, "Bill weekly instead of monthly, I reconsidered.", "Bill weekly"),
    ),
    _of(
        "a recipe for many",
        (I, 2, A, "The oven's programme for it is P-27.", "P-27"),
        (D, 4, U, "We decided on lentils as the main course.", "lentils as the main course"),
        (R, 8, U, "It must be without gluten for table six.", "without gluten"),
        (C, 14, U, "There are 135 plates, not 153.", "135 plates"),
        (M, 23, U, "I changed my mind: serve it cold instead of warm.", "serve it cold"),
    ),
    _of(
        "an app for hikers",
        (I, 3, T, "bundle id org.fjellvett.turkart, build 2207", "org.fjellvett.turkart"),
        (D, 6, A, "Decided: maps are kept offline for thirty days.", "thirty days"),
        (R, 9, U, "The position must never leave the phone.", "position must never leave the phone"),
        (C, 11, U, "The endpoint is /v3/tracks, I mistyped /v2/tracks.", "/v3/tracks"),
        (M, 26, U, "Actually let us sort by height instead of by distance.", "sort by height"),
    ),
    _of(
        "a museum's loans",
        (I, 1, A, "The painting has the inventory number NG.M.00939.", "NG.M.00939"),
        (D, 5, U, "We decided to lend it to Turin for the autumn.", "lend it to Turin"),
        (R, 10, U, "The light must stay below 50 lux.", "50 lux"),
        (C, 13, T, "insured value 2,350,000 (not 2,530,000 as in the draft)", "2,350,000"),
        (M, 24, U, "Send it by road instead of by air, we think now.", "by road"),
    ),
    _of(
        "shifts of a clinic",
        (I, 2, U, "The roster is the file /rosters/2026/w14.xlsx on the share.", "/rosters/2026/w14.xlsx"),
        (D, 6, A, "We agreed that nobody works three nights in a row.", "three nights in a row"),
        (R, 8, U, "Doctor Aune must not work on Wednesdays.", "must not work on Wednesdays"),
        (C, 15, U, "The late shift begins at 15:15, not 15:00.", "15:15"),
        (M, 22, U, "Let us swap the teams every two weeks instead of monthly.", "every two weeks"),
    ),
)
ASKED = (
    "Can you say a little more about how this part usually goes, and what people tend to overlook in it?",
    "That makes sense to me. What would you look at next, if you were in my place?",
    "Let us leave that for a moment. How do others arrange the rest of it, in your experience?",
    "I see. Is there anything in it that could surprise us later, do you think?",
    "Thank you, that helps. Please go through the next step in the same way as before.",
    "Hm, I am not sure that I followed. Could you put the last point in plainer words?",
    "Good. And what about the part that we put aside in the beginning, does it still fit?",
)
SAID = (
    "In most cases it goes smoothly, as long as everybody knows who looks after which part. It helps to go slowly in "
    "the beginning and to write down what was seen, so that nobody has to ask again.",
    "I would look at the simplest thing first, since it is often the one that was passed over. After that the rest "
    "tends to fall into place, and what is left can be dealt with one by one.",
    "Others do it in much the same way, with small differences that come from habit. There is no great harm in either, "
    "and it is easy to come back to it when there is more time.",
    "There may be a surprise or two, as there always is, but nothing that could not be mended. The main thing is to "
    "keep calm and to look at it together before anything is done in haste.",
    "Certainly. The next step is much like the one before it: look at what is there, set aside what is not needed, and "
    "go on with what remains, until it looks as it should.",
)
ASIDES = (
    "There was something like it on page {} of the yellow binder, shelf {}.",
    "Somebody wrote a note on that, number {}, though it has only {} lines.",
    "It reminds me of the case of {} people in a town with {} bridges.",
    "A similar question had {} answers in a forum, of which {} were of use.",
    "By the way, the old handbook treats it in chapter {}, below figure {}.",
    "I once saw a drawing of it, plate {} in a folder marked Z-{}.",
    "The weather had nothing to do with it, whatever the {} letters of the {} readers say.",
    "My notes have a pencil mark at line {}, and another one at line {}.",
    "For comparison, a bakery needs {} trays and a school {} chairs.",
    "You could count to {} in the time, or walk {} steps.",
    "There is a film about it of {} minutes, with a song of {} words.",
)
"""Names and numbers that matter to nobody, in every answer, so that they cannot all be kept."""


def items_of(dialogue: Dialogue, first: int, last: int) -> Iterator[dict[str, Any]]:
    """The items of some of its turns, numbered from 0."""
    for turn in range(first, last):
        planted = {one.by: one for one in dialogue.facts if one.turn == turn}
        asked = f"About {dialogue.topic}. " * (turn == 0) + ASKED[turn % 7]
        yield message("user", with_fact(planted.get(U), asked))
        if (fact := planted.get(T)) is not None:
            yield {"type": "function_call", "call_id": f"call_{turn}", "name": "look_up", "arguments": "{}"}
            yield {"type": "function_call_output", "call_id": f"call_{turn}", "output": fact.text}
        said = f"{SAID[turn % 5]} {ASIDES[turn % 11].format(turn * 37 + 11, turn * 13 + 5)}"
        yield message("assistant", with_fact(planted.get(A), said))


def with_fact(fact: Fact | None, text: str) -> str:
    """At the beginning in even turns, else at the end."""
    if fact is None:
        return text
    return f"{text} {fact.text}" if fact.turn % 2 else f"{fact.text} {text}"


def message(role: str, text: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
