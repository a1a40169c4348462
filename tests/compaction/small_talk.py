"""What is said between the facts of the held-out dialogues, by language: questions, musings before them, answers."""

EN, DE, FR, ES, IT, CODE = "en", "de", "fr", "es", "it", "code"
TALK: dict[str, tuple[tuple[str, ...], ...]] = {
    EN: (
        ("Go on, please.", "And the part after that?", "What do you make of it?", "Where were we?", "Fine, what else?"),
        (
            "My sister would laugh at me for asking, but then she never had to arrange anything of the kind herself.",
            "I walked about with it all morning and it still looks the same to me as it did at breakfast.",
            "That is how they always did it here, I am told, and nobody remembers who began with it.",
        ),
        (
            "There are {} ways to look at it, and I like the third. It leaves room, and it can be undone if it turns "
            "out badly, which it rarely does.",
            "I would sleep over it. People in your place often hurry here, on page {} as it were, and regret it.",
            "It is a matter of taste. Some {} years ago one did it the other way round, and that worked too.",
        ),
    ),
    DE: (
        ("Weiter, bitte.", "Und danach?", "Was hältst du davon?", "Wo waren wir?", "Gut, was noch?"),
        (
            "Meine Schwester würde über die Frage lachen, aber sie hatte so etwas auch nie selbst zu besorgen.",
            "Ich bin den ganzen Morgen damit herumgelaufen, und es sieht noch aus wie beim Frühstück.",
            "So macht man das hier seit jeher, heißt es, und keiner weiß mehr, wer damit anfing.",
        ),
        (
            "Das lässt sich auf {} Arten ansehen, die dritte gefällt mir. Sie lässt Luft, und man kann zurück, wenn es "
            "schiefgeht, was selten vorkommt.",
            "Ich würde darüber schlafen. Viele eilen hier, sozusagen auf Seite {}, und bereuen es später.",
            "Das ist Geschmackssache. Vor {} Jahren machte man es andersherum, und das ging auch.",
        ),
    ),
    FR: (
        ("Continuez.", "Et ensuite ?", "Qu'en pensez-vous ?", "Où en étions-nous ?", "Bien, quoi d'autre ?"),
        (
            "Ma sœur se moquerait de ma question, mais elle n'a jamais eu à s'occuper de ce genre de choses.",
            "J'y ai pensé toute la matinée et cela me paraît toujours pareil qu'au petit déjeuner.",
            "On a toujours fait ainsi ici, dit-on, et plus personne ne sait qui a commencé.",
        ),
        (
            "On peut voir cela de {} façons, la troisième me plaît. Elle laisse de la place et permet de revenir.",
            "Je laisserais passer une nuit. Beaucoup se pressent ici, à la page {} pour ainsi dire, et le regrettent.",
            "C'est affaire de goût. Il y a {} ans on faisait l'inverse, et cela marchait aussi.",
        ),
    ),
    ES: (
        ("Sigue.", "¿Y después?", "¿Qué te parece?", "¿Dónde estábamos?", "Bien, ¿qué más?"),
        (
            "Mi hermana se reiría de la pregunta, pero ella nunca tuvo que organizar nada parecido.",
            "Le he dado vueltas toda la mañana y lo veo igual que en el desayuno.",
            "Aquí siempre se hizo así, dicen, y nadie recuerda quién empezó con ello.",
        ),
        (
            "Se puede ver de {} maneras y me gusta la tercera. Deja sitio, y se puede volver atrás si sale mal.",
            "Yo lo consultaría con la almohada. Muchos corren aquí, en la página {} por así decir, y lo lamentan.",
            "Es cuestión de gusto. Hace {} años se hacía al revés, y también funcionaba.",
        ),
    ),
    IT: (
        ("Avanti.", "E dopo?", "Che ne pensi?", "Dove eravamo?", "Bene, che altro?"),
        (
            "Mia sorella riderebbe della domanda, ma lei non ha mai dovuto occuparsi di cose del genere.",
            "Ci ho pensato tutta la mattina e mi sembra uguale a come era a colazione.",
            "Qui si è sempre fatto così, dicono, e nessuno ricorda chi abbia cominciato.",
        ),
        (
            "Si può vedere in {} modi e mi piace il terzo. Lascia spazio, e si torna indietro se va male.",
            "Io ci dormirei sopra. Molti corrono qui, a pagina {} per così dire, e poi se ne pentono.",
            "È questione di gusto. {} anni fa si faceva al contrario, e andava bene lo stesso.",
        ),
    ),
    CODE: (
        ("Next file.", "Run it again?", "What does the trace say?", "And the tests?", "Show me the diff."),
        (
            "It compiled on my machine, which proves nothing, as the two of us know well enough by now.",
            "I stepped through it over lunch and it did just what one would think that it does.",
            "Whoever wrote this was fond of short names and of long functions, but it reads well enough.",
        ),
        (
            "The loop in step_{0} is fine, `for row in rows[{0}:]: emit(row)` does what it says, and I left it alone.",
            "Output as before: `ok {0} passed, 0 failed in 0.{0}s`. Nothing in it that we had not seen.",
            "I renamed `tmp{0}` to something one can read and ran the linter; it grumbles about line {0} as always.",
        ),
    ),
}
