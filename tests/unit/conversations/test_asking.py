"""What is searched for in a conversation."""

import pytest

from copilot_common.llm.types import ChatMessage
from copilot_domain.conversations.generation.asking import QUERY_CHARACTERS, search_query

CATS = "When are vaccinations of cats due in the first year?"


def talk(*questions: str) -> list[ChatMessage]:
    turns = [(ChatMessage("user", text), ChatMessage("assistant", f"About {text}")) for text in questions]
    return [message for turn in turns for message in turn][:-1]


def test_a_first_question_is_what_is_searched_for() -> None:
    assert search_query(talk("Why?")) == "Why?"


FOLLOW_UPS = (
    "And dogs?",
    "Why is it done so early in the year?",
    "And what do vaccinations of dogs cost?",
    "Does that also apply to dogs kept outdoors?",
    "What happens to animals after that?",
    "Which vets in Ulm offer those vaccinations?",
    "Do vets charge more for the second one?",
    "How many vets and nurses usually work there?",
    "Do the same intervals apply to older dogs?",
    "How often were vets and nurses paid until then?",
    "Und wie ist das bei Hunden?",
    "Gilt das auch für ältere Hunde im Ausland?",
    "Ist das eine Pflicht oder nur eine Empfehlung?",
    "Wann muss er beim ersten Mal geimpft werden?",
    "Warum wird es so früh im Jahr gemacht?",
    "Welche Tierärzte in Ulm raten davon ab?",
    "Et pour les chiens de plus de dix ans ?",
    "Combien de temps dure-t-elle chez les chiens ?",
    "Est-ce que cela vaut aussi pour les chiens ?",
    "Quels vétérinaires n'en font pas à Lyon ?",
    "¿Y para los perros de más de diez años?",
    "¿Cuánto cuesta eso en una clínica de Madrid?",
    "¿Con qué frecuencia necesitan ellos una vacuna?",
    "Og hvad koster vaccinationer af hunde i Aarhus?",
    "Gælder det også for hunde, der bor udendørs?",
    "Hvor ofte skal dyrlægen vaccinere dem om vinteren?",
    "Thanks, understood. And what do vaccinations of dogs cost?",
    "Katzen, Hunde, Ulm: Impfungen davon?",  # of no language by its small words
)


@pytest.mark.parametrize("follow_up", FOLLOW_UPS)
def test_a_follow_up_is_searched_for_with_the_question_before_it(follow_up: str) -> None:
    assert search_query(talk(CATS, follow_up)) == f"{CATS}\n{follow_up}"


STANDING_ALONE = (
    "Which harbours are closed to tankers over two hundred metres?",
    "Which contracts that were signed in March expire this year?",
    "Is there a limit on annual leave for part-time staff?",
    "How many harbours are there along the coast of Norway?",
    "Who decides that a harbour closes to tankers?",
    "Which laptops does the IT department hand out to new employees?",
    "How long does it take to renew a passport in Berlin?",
    "Is it legal to record a phone call with customers?",
    "Do employees paid by the hour get one week of leave after one year?",
    "Which animals, such as dogs, need a passport for Norway?",
    "Who pays for those who work part-time in two countries?",
    "Can two employees of a department take leave at the same time?",
    "If a tanker arrives at night, who then opens the harbour gate?",
    "Wie lange dauert das Verfahren zur Anerkennung ausländischer Abschlüsse?",
    "Wann tritt das neue Gesetz zum Schutz der Häfen in Kraft?",
    "Gibt es in Hamburg einen Hafen für Tanker?",
    "Ist es erlaubt, ein Telefonat mit Kunden aufzuzeichnen?",
    "Wie viele Urlaubstage bieten Sie neuen Mitarbeitern an?",
    "Was muss ein Kapitän tun, damit der Hafen öffnet?",
    "Welche Fristen gelten dieses Jahr für die Steuererklärung?",
    "Welche Häfen verkaufen Diesel an kleine Fischerboote?",
    "Combien de jours de congé y a-t-il en France ?",
    "Quels ports sont fermés aux pétroliers en hiver ?",
    "Quand le locataire doit-il rendre les clés du logement ?",
    "Faut-il un visa pour travailler en Norvège ?",
    "Est-il possible de renouveler un passeport en ligne ?",
    "¿Cuál es el plazo para presentar la declaración en España?",
    "¿Qué puertos y canales están cerrados en invierno?",
    "¿Qué es un contrato temporal y cuándo termina?",
    "¿Cuántos días de vacaciones he de pedir en marzo?",
    "Hvad er fristen for at indgive en klage til kommunen?",
    "Hvilke havne er lukket for tankskibe over to hundrede meter?",
    "Hvor mange feriedage har en medarbejder her i Danmark?",
)


@pytest.mark.parametrize("other", STANDING_ALONE)
def test_a_question_that_stands_alone_forgets_the_ones_before(other: str) -> None:
    assert search_query(talk(CATS, other)) == other


def test_a_long_text_stands_alone_whatever_it_points_at() -> None:
    text = " ".join(f"It rained in town{number}." for number in range(100))
    assert search_query(talk(CATS, text)) == text


def test_it_goes_back_to_the_question_that_stands_alone_and_no_further() -> None:
    assert search_query(talk("Which harbours are closed to tankers?", CATS, "And dogs?")) == f"{CATS}\nAnd dogs?"
    assert search_query(talk(CATS, "And dogs?", "Why?")) == f"{CATS}\nAnd dogs?\nWhy?"
    assert search_query(talk(CATS, "And dogs?", "Why?", "Really?")) == "And dogs?\nWhy?\nReally?"


def test_answers_are_not_searched_for_and_a_long_text_keeps_its_end() -> None:
    assert "About" not in search_query(talk(CATS, "And dogs?"))
    query = search_query(talk(CATS * 400, "And dogs?"))
    assert len(query) == QUERY_CHARACTERS
    assert query.endswith("And dogs?")
