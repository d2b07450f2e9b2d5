"""Which terms a text is found by, and what is kept of them."""

from itertools import product
from uuid import uuid4

import pytest

from copilot_common.base.ids import TenantId
from copilot_common.encryption import HashPurpose, TenantCipher
from copilot_domain.context import terms
from copilot_domain.context.languages import LANGUAGES
from copilot_domain.context.terms import TermHasher, count_terms, detect, query_terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The ships are sailing", {"ship": 1, "sail": 1}),
        ("Ship SHIP ships", {"ship": 3}),
        ("getUserName", {"getusernam": 1, "get": 1, "user": 1, "name": 1}),
        ("max_batch_2", {"max_batch_2": 1, "max": 1, "batch": 1, "2": 1}),
        ("HTTPServer", {"httpserver": 1, "http": 1, "server": 1}),
        ("ﬁne", {"fine": 1}),
        ("Straße", {"strass": 1}),
        ("漢字文", {"漢字": 1, "字文": 1}),
        ("caf\u0065\u0301", {"café": 1}),
        ("", {}),
        ("!?…", {}),
        ("ERR-4021", {"err-4021": 1, "err": 1, "4021": 1}),
        ("os.path.join", {"os.path.join": 1, "os": 1, "path": 1, "join": 1}),
        ("well-known", {"well": 1, "known": 1}),
        ("x-1" * 40, {"x": 1, "1x": 39, "1": 1}),
        ("std::vector<int>", {"std::vector": 1, "std": 1, "vector": 1, "int": 1}),
        ("Foo::bar()", {"foo::bar": 1, "foo": 1, "bar": 1}),
        ("node->next", {"node->next": 1, "node": 1, "next": 1}),
        ("C, C++ and C#: F#?", {"c": 3, "c++": 1, "c#": 1, "f": 1, "f#": 1}),
        ("ASP.NET (.NET)", {"asp.net": 1, ".net": 1, "asp": 1, "net": 2}),
        ("bool operator==(T)", {"operator==": 1, "oper": 1, "bool": 1, "t": 1}),
        ("operator- operator[]", {"operator-": 1, "operator[]": 1, "oper": 2}),
        ("Foo::operator()(T)", {"foo::operator()": 1, "foo::operator": 1, "foo": 1, "oper": 1, "t": 1}),
        ("--dry-run", {"--dry-run": 1, "dri": 1, "run": 1}),
        ("@property $HOME #42", {"@property": 1, "properti": 1, "$home": 1, "home": 1, "#42": 1, "42": 1}),
        ("X-Request-Id", {"x-request-id": 1, "x": 1, "request": 1, "id": 1}),
        ("$" + "x" * 63 + " $" + "z" * 64, {"$" + "x" * 63: 1, "x" * 63: 1, "z" * 64: 1}),
    ],
)
def test_the_terms_of_a_text(text: str, expected: dict[str, int]) -> None:
    assert dict(count_terms(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x-request-id, state-of-the-art", {"x": 1, "request": 1, "id": 1, "state": 1, "art": 1}),
        ("Navier-Stokes", {"navier": 1, "stoke": 1}),
        ("ship. .5 ...ship (ship).ship", {"ship": 4, "5": 1}),
        ("-ship ship--ship ---ship", {"ship": 4}),
        ("ship? ship! ship= ship: ship->", {"ship": 5}),
        ("cooperator==", {"cooper": 1}),
    ],
)
def test_what_prose_has_is_no_identifier(text: str, expected: dict[str, int]) -> None:
    assert dict(count_terms(text)) == expected


@pytest.mark.parametrize(
    ("text", "without"),
    [
        (".github/workflows/ci.yml", "github/workflows/ci.yml"),
        ("$HOME/bin", "home/bin"),
        ("@types/node", "types/node"),
        ("--retry-429", "retry-429"),
        ("Pool::size++", "pool::size"),
        ("Report::Invoice.paid", "invoice.paid"),
        ("self.pool->next", "self.pool"),
        ("libstdc.a++", "libstdc.a"),
    ],
)
def test_an_identifier_is_found_without_the_signs_around_it_too(text: str, without: str) -> None:
    assert {without, text.casefold()} <= count_terms(text).keys()


@pytest.mark.parametrize("word", ["not", "or", "an", "by"])
def test_english_stop_words_have_no_term_in_any_language(word: str) -> None:
    assert not query_terms(word, LANGUAGES)


def cipher(*keys: int) -> TenantCipher:
    return TenantCipher(TenantId(uuid4()), {number: bytes([number]) * 32 for number in keys})


def test_a_hash_is_short_and_the_same_each_time() -> None:
    hasher = TermHasher(cipher(1))
    assert hasher("ship") == hasher("ship") == TermHasher(cipher(1))("ship")
    assert -(1 << 63) <= hasher("ship") < 1 << 63
    assert hasher("ship") != hasher("shop")


def test_another_key_or_purpose_makes_other_hashes() -> None:
    assert TermHasher(cipher(1))("ship") != TermHasher(cipher(2))("ship")
    keys = {cipher(1).hash_key(purpose) for purpose in HashPurpose}
    assert len(keys) == len(HashPurpose)


def test_a_rotated_key_still_finds_what_was_hashed_before() -> None:
    assert TermHasher(cipher(1))("ship") == TermHasher(cipher(1, 2))("ship")


@pytest.mark.parametrize("language", ["english", "german"])
def test_texts_are_counted_together_as_each_alone_but_by_hash(language: str) -> None:
    texts = ["Ships and SHIPS, getUserName", "", "Häuser, ships: ERR-4021 ships", "漢字文"]
    hasher = TermHasher(cipher(1))
    expected = [{hasher(term): times for term, times in count_terms(text, language).items()} for text in texts]
    assert TermHasher(cipher(1)).count(texts, language) == expected


def test_a_bounded_number_of_words_is_remembered_in_all_languages_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "_REMEMBERED", 100)
    for language in LANGUAGES:
        count_terms(" ".join("".join(pair) for pair in product("abcdefgh", "ijkl")), language)
        assert 0 < sum(map(len, terms._known.values())) <= 100


PROSE = {
    "english": "The harbour is closed to tankers, and the pilot will be at the lighthouse for the rest of the day.",
    "german": "Der Hafen ist für Tanker geschlossen, und der Lotse wartet den Rest des Tages auf dem Leuchtturm.",
    "french": "Le port est fermé aux pétroliers, et le pilote attend au phare pour le reste de la journée.",
    "spanish": "El puerto está cerrado a los petroleros, y el práctico espera en el faro por el resto del día.",
    "italian": "Il porto è chiuso alle petroliere, e il pilota aspetta nel faro per il resto della giornata.",
    "dutch": "De haven is gesloten voor tankers, en de loods wacht de rest van de dag bij de vuurtoren.",
    "swedish": "Hamnen är stängd för tankfartyg, och lotsen väntar på att det ska bli kväll i fyren.",
    "russian": "Гавань закрыта для танкеров, и лоцман ждёт на маяке до вечера, но не один.",
}


@pytest.mark.parametrize("language", PROSE)
def test_prose_tells_its_language(language: str) -> None:
    assert detect([PROSE[language]]) == language


@pytest.mark.parametrize("text", ["", "error 42", "def f(x):\n    return x + 1", "4711; 4712; 4713", "漢字の文章です"])
def test_what_tells_nothing_counts_as_english(text: str) -> None:
    assert detect([text]) == "english"


def test_a_question_has_the_stems_of_every_language_it_is_asked_in() -> None:
    german = count_terms("Häuser", "german")
    assert german.keys() <= query_terms("Häusern", ["english", "german"]).keys()
    assert not german.keys() <= query_terms("Häusern", ["english"]).keys()
    assert query_terms("ships", []) == count_terms("ships")
