"""Twenty-two further dialogues that nobody looked at while the summary's task and the digest were written.

Other trades, several languages, code, and facts said in passing: few of them announce themselves by a word such as
`decided` or `must`. They are for measuring alone; whatever they show, the rules are not fitted to them.
"""

from collections.abc import Iterator
from typing import Any

from tests.compaction.dialogues import A, C, D, Dialogue, Fact, I, M, R, T, U, message, with_fact
from tests.compaction.small_talk import CODE, DE, EN, ES, FR, IT, TALK


def _of(language: str, topic: str, *facts: tuple[str, int, str, str, str]) -> tuple[str, Dialogue]:
    return language, Dialogue(topic, tuple(Fact(*one) for one in facts))


_SET = (
    _of(
        DE,
        "Umzug einer Arztpraxis",
        (I, 2, U, "Der Mietvertrag läuft unter dem Aktenzeichen MV-77/2031-b.", "MV-77/2031-b"),
        (D, 5, A, "Dann nehmen wir die Räume im Erdgeschoss und nicht die unter dem Dach.", "Räume im Erdgeschoss"),
        (R, 8, U, "Die Kühlkette für Impfstoffe darf keine halbe Stunde unterbrochen sein.", "keine halbe Stunde"),
        (C, 12, U, "Verzeihung, der Umzug ist am 28., am 18. sind wir noch in der alten Praxis.", "am 28."),
        (
            M,
            23,
            U,
            "Den Empfang lassen wir jetzt doch offen statt mit Glaswand.",
            "Empfang lassen wir jetzt doch offen",
        ),
    ),
    _of(
        DE,
        "Steuer eines Vereins",
        (I, 1, U, "Unsere Steuernummer lautet 143/215/90817.", "143/215/90817"),
        (D, 6, U, "Wir bleiben bei der Einnahmenüberschussrechnung.", "Einnahmenüberschussrechnung"),
        (R, 9, U, "Spenden aus dem Ausland weisen wir immer getrennt aus.", "immer getrennt aus"),
        (C, 14, A, "Ich hatte mich vertan: Die Freigrenze liegt bei 45.000 Euro.", "45.000"),
        (
            M,
            21,
            U,
            "Die Jugendkasse führen wir nun gemeinsam mit der Hauptkasse.",
            "Jugendkasse führen wir nun gemeinsam",
        ),
    ),
    _of(
        DE,
        "eine alte Orgel",
        (I, 3, A, "Das Register trägt auf der Lade die Signatur Gedackt 8' / HW-IV.", "HW-IV"),
        (D, 7, U, "Gestimmt wird sie ungleichstufig, nach Neidhardt.", "nach Neidhardt"),
        (R, 10, U, "An das Gehäuse kommt uns kein Bohrer.", "kein Bohrer"),
        (C, 11, U, "Es sind 1.846 Pfeifen; 1.486 stand falsch im Gutachten.", "1.846"),
        (M, 25, U, "Der Spieltisch wandert nun doch auf die Nordempore.", "Nordempore"),
    ),
    _of(
        FR,
        "un vignoble en Touraine",
        (I, 2, U, "La parcelle est cadastrée sous ZK 0412.", "ZK 0412"),
        (D, 4, A, "On garde donc le chenin et on arrache le gamay.", "on arrache le gamay"),
        (R, 9, U, "Aucun traitement à moins de vingt mètres de la rivière.", "vingt mètres de la rivière"),
        (C, 13, U, "Je me suis trompée : les vendanges commencent le 22 septembre.", "22 septembre"),
        (M, 24, U, "Finalement, la cuverie sera en béton plutôt qu'en inox.", "en béton"),
    ),
    _of(
        FR,
        "la traduction d'un contrat",
        (I, 1, U, "Le dossier porte la référence TRB/26-1187.", "TRB/26-1187"),
        (D, 6, U, "Le mot « lessor » devient partout « bailleresse ».", "bailleresse"),
        (R, 8, U, "Les annexes restent en anglais, mot pour mot.", "annexes restent en anglais"),
        (C, 12, A, "Rectification : l'article visé est le 14.3 et pas le 13.4.", "14.3"),
        (M, 22, U, "On livrera en une seule fois, pas par chapitres comme prévu.", "en une seule fois"),
    ),
    _of(
        ES,
        "una escuela de música",
        (I, 3, U, "El piano grande tiene el número de serie YB-6612907.", "YB-6612907"),
        (D, 5, U, "Las clases de coro quedan para los jueves.", "coro quedan para los jueves"),
        (R, 10, U, "Ningún grupo pasa de nueve alumnos.", "nueve alumnos"),
        (C, 15, U, "La matrícula cuesta 68 euros, antes escribí 86 por error.", "68 euros"),
        (M, 26, U, "El concierto será al final en el patio y no en el teatro.", "en el patio"),
    ),
    _of(
        IT,
        "il restauro di un affresco",
        (I, 2, A, "La campagna fotografica è archiviata come AFR-1904-07.", "AFR-1904-07"),
        (D, 7, U, "Si parte dalla parete est, quella più umida.", "parete est"),
        (R, 9, U, "Niente solventi sul blu: si stacca.", "solventi sul blu"),
        (C, 11, U, "Il ponteggio è alto 7,40 metri, non 4,70.", "7,40"),
        (M, 23, U, "Lasciamo la lacuna in vista invece di integrarla.", "lacuna in vista"),
    ),
    _of(
        EN,
        "a lighthouse that becomes a hostel",
        (I, 1, U, "The harbour board files us as case LH/0932-K.", "LH/0932-K"),
        (D, 5, U, "Bunks go on the second floor, the kitchen stays where the keeper had it.", "Bunks go on the second"),
        (R, 8, U, "Seals pup on the slip in June, so boats keep off it then.", "boats keep off it"),
        (C, 13, A, "My mistake, the tide gate closes at 19:20; I had read the winter table.", "19:20"),
        (M, 25, U, "We'll leave the lamp room empty after all and skip the bar.", "lamp room empty"),
    ),
    _of(
        EN,
        "dosing for a greenhouse",
        (I, 2, T, "valve bank 3: solenoid SV-3B, firmware r118, i2c 0x4A", "0x4A"),
        (D, 6, A, "So the tomatoes get the drip line and the herbs keep the mist.", "herbs keep the mist"),
        (R, 9, U, "The pH pump and the feed pump shall not run in the same minute.", "run in the same minute"),
        (C, 12, U, "EC target is 2.4 - the 4.2 was me typing too fast.", "2.4"),
        (M, 22, U, "Scrap the hourly schedule, go by leaf temperature.", "leaf temperature"),
    ),
    _of(
        EN,
        "an estate with three heirs",
        (I, 3, U, "Probate gave us the docket 2025-PR-40816.", "2025-PR-40816"),
        (D, 4, U, "Marion takes the cottage and pays the other two out.", "Marion takes the cottage"),
        (R, 10, U, "Grandfather's letters stay in the family, whatever anybody offers.", "letters stay in the family"),
        (C, 14, U, "The valuation came back at 312,500; forget the 321,500 I quoted.", "312,500"),
        (
            M,
            27,
            U,
            "The orchard goes to auction now; keeping it in common would only breed quarrels.",
            "orchard goes to auction",
        ),
    ),
    _of(
        EN,
        "subtitles for a documentary",
        (I, 1, A, "The reel you want is labelled BX-77 take 4.", "BX-77"),
        (D, 6, U, "Swear words appear in full, no asterisks.", "no asterisks"),
        (R, 8, U, "Two lines, thirty-seven characters each, is the broadcaster's ceiling.", "thirty-seven characters"),
        (C, 15, U, "Her name is spelled Ghislaine Ouedraogo with an e; the cue sheet drops it.", "Ghislaine Ouedraogo"),
        (M, 24, U, "Let the songs go untranslated. I know what I said last week.", "songs go untranslated"),
    ),
    _of(
        EN,
        "a marathon's aid stations",
        (I, 2, U, "The permit sits with the city as EVT-5539-QR.", "EVT-5539-QR"),
        (D, 5, A, "Station six moves to the bridge's far side then.", "bridge's far side"),
        (R, 11, U, "Glass is banned along the whole route by the insurers.", "Glass is banned"),
        (C, 13, U, "Cut-off is 5:45 after the gun, I gave you the relay's 5:15.", "5:45"),
        (M, 21, U, "No medals this year, seedlings for everyone.", "seedlings for everyone"),
    ),
    _of(
        EN,
        "insurance after a flood",
        (I, 3, U, "Claim number, for your notes: 88Q-11034-FL.", "88Q-11034-FL"),
        (D, 7, U, "We take the cash settlement and hire our own builder.", "cash settlement"),
        (R, 9, U, "The adjuster wants every wet item photographed before it is thrown out.", "before it is thrown out"),
        (C, 12, A, "Having measured again, the high-water mark was 1.12 m.", "1.12 m"),
        (M, 26, U, "I'd sooner raise the sockets and leave the floor as it was.", "raise the sockets"),
    ),
    _of(
        EN,
        "a choir's tour",
        (I, 1, T, "PNR K9WD4E, 31 passengers, BRU-VNO", "K9WD4E"),
        (D, 5, U, "The programme opens with Byrd and closes with Pärt.", "closes with Pärt"),
        (R, 8, U, "Basses sleep on the ground floor, two of them have bad knees.", "Basses sleep on the ground floor"),
        (C, 11, U, "Rehearsal hall B, hall D is the children's.", "Rehearsal hall B"),
        (M, 23, U, "Skip Riga. We stay the extra night in Kaunas.", "extra night in Kaunas"),
    ),
    _of(
        CODE,
        "a cache that grows",
        (I, 2, T, "heap: 1,204,118 x struct lru_node, allocated at src/evict.rs:218", "src/evict.rs:218"),
        (D, 6, A, "We key the map by `TenantId` and drop the global one.", "drop the global one"),
        (R, 9, U, "`Entry` is ABI for the plugins, its layout stays.", "ABI for the plugins"),
        (C, 13, U, "The TTL is `Duration::from_secs(540)`, the doc comment lies.", "from_secs(540)"),
        (
            M,
            25,
            U,
            "Make eviction lazy. I argued for the background thread, I was convinced otherwise.",
            "eviction lazy",
        ),
    ),
    _of(
        CODE,
        "an importer of bank statements",
        (I, 1, T, "psycopg.errors.UniqueViolation: duplicate key value violates uq_stmt_7731", "uq_stmt_7731"),
        (D, 5, U, "Amounts are stored as integers of a hundredth of a cent.", "hundredth of a cent"),
        (R, 10, U, "IBANs are masked before anything is logged.", "IBANs are masked"),
        (C, 12, U, "Field 61 is the date, `:60F:` is the opening balance. I swapped them.", ":60F:"),
        (M, 22, U, "Parse with a grammar, I give up on regular expressions.", "Parse with a grammar"),
    ),
    _of(
        CODE,
        "a migration of identities",
        (I, 3, U, "The stuck job is 7c1e0b9a-55d2.", "7c1e0b9a-55d2"),
        (D, 4, A, "Sessions survive the switch; refresh tokens are reissued.", "refresh tokens are reissued"),
        (R, 8, U, "No e-mail leaves the system until legal has read it.", "until legal has read it"),
        (C, 14, T, "users_without_hash=4096 (dry run had counted 40960)", "users_without_hash=4096"),
        (M, 24, U, "Roll out by region and forget the percentage idea.", "Roll out by region"),
    ),
    _of(
        CODE,
        "a shader for water",
        (I, 2, U, "The uniform that matters is u_foamBias2.", "u_foamBias2"),
        (D, 7, U, "Reflections come from the probe, screen space is out.", "Reflections come from the probe"),
        (R, 9, U, "Everything above 2 ms on the handheld gets cut.", "2 ms on the handheld"),
        (C, 11, U, "Sun elevation is 0.61 radians, I pasted degrees.", "0.61 radians"),
        (M, 27, U, "Drop the caustics, the art director likes it plain.", "Drop the caustics"),
    ),
    _of(
        EN,
        "monthly figures of a bakery",
        (I, 1, U, "Till three reports under terminal 0097-5541.", "0097-5541"),
        (D, 6, A, "Returns are booked on the day they come back, not on the day of sale.", "day they come back"),
        (R, 8, U, "Tips never enter the turnover.", "Tips never enter"),
        (C, 15, T, "march: 48,917.35 (restated; flour invoice of 1,203.11 counted once)", "48,917.35"),
        (M, 21, U, "Let's close the books on the tenth from now on, the fifth was too tight.", "on the tenth"),
    ),
    _of(
        EN,
        "a telescope mount",
        (I, 3, A, "The worm gear is ordered as WG-180/0.5-M.", "WG-180/0.5-M"),
        (D, 5, U, "Friction drive on declination, worm on right ascension.", "Friction drive on declination"),
        (R, 10, U, "The pier may weigh forty kilos, the roof holds no more.", "forty kilos"),
        (C, 12, U, "Latitude 47.0832, I sent you the neighbour village's.", "47.0832"),
        (M, 26, U, "I'll go without the autoguider and take short exposures.", "take short exposures"),
    ),
    _of(
        DE,
        "ein Fahrplan",
        (I, 1, T, "Umlauf 3107, Fahrzeug 650.112, Abstellung Gleis 14", "650.112"),
        (D, 7, U, "Der Halt in Wiesental entfällt samstags.", "Wiesental entfällt"),
        (R, 9, U, "Zwischen zwei Zügen bleiben wenigstens vier Minuten.", "wenigstens vier Minuten"),
        (C, 13, U, "Abfahrt ist 6:17, die 6:71 war ein Zahlendreher.", "6:17"),
        (M, 23, U, "Wir kuppeln in Altenbach nun gar nicht mehr.", "kuppeln in Altenbach"),
    ),
    _of(
        ES,
        "un huerto escolar",
        (I, 2, U, "El contador de agua es el AG-30418.", "AG-30418"),
        (D, 4, A, "Entonces plantamos habas junto a la valla.", "habas junto a la valla"),
        (R, 8, U, "Nada de pesticidas, hay niños con asma.", "niños con asma"),
        (C, 11, U, "Somos 27 en la clase, no 72.", "27 en la clase"),
        (M, 25, U, "Mejor compramos el compost ya hecho.", "compost ya hecho"),
    ),
)
DIALOGUES = tuple(dialogue for _, dialogue in _SET)
_LANGUAGE = {dialogue.topic: language for language, dialogue in _SET}


def items_of(dialogue: Dialogue, first: int, last: int) -> Iterator[dict[str, Any]]:
    """The items of some of its turns, numbered from 0. Now and then answers are longer, or a tool says something."""
    asked, mused, said = TALK[_LANGUAGE[dialogue.topic]]
    for turn in range(first, last):
        planted = {one.by: one for one in dialogue.facts if one.turn == turn}
        question = f"{mused[turn % len(mused)]} {asked[(turn * 3) % len(asked)]}"
        yield message("user", with_fact(planted.get(U), f"({dialogue.topic}) {question}" if turn == 0 else question))
        fact = planted.get(T)
        if fact is not None or turn % 9 == 4:
            output = fact.text if fact is not None else f"listed {turn * 131} entries, {turn * 7} of them new"
            yield {"type": "function_call", "call_id": f"call_{turn}", "name": "check", "arguments": "{}"}
            yield {"type": "function_call_output", "call_id": f"call_{turn}", "output": output}
        answers = [said[(turn + more) % len(said)].format(turn * 53 + 400 + more) for more in range(1 + turn % 3)]
        yield message("assistant", with_fact(planted.get(A), " ".join(answers)))
