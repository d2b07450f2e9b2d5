"""Texts of many languages in the encodings they are met in: read as they were written, though nobody named them."""

import unicodedata

import pytest

from copilot_domain.documents.extracting import extract
from copilot_domain.documents.types import Source

GREEK = (
    "Το λιμάνι ήταν ήσυχο το βράδυ και τα καράβια γύριζαν αργά από τη θάλασσα.",
    "Ο φαροφύλακας άναψε το φως, έγραψε την ώρα στο βιβλίο του και ήπιε τον καφέ του.",
    "Κανείς δεν ήξερε πόσα βαρέλια λάδι είχαν φορτώσει οι ναύτες την προηγούμενη μέρα.",
)
ARABIC = (
    "كان الميناء هادئا في المساء وعادت السفن ببطء من البحر.",
    "أشعل حارس المنارة الضوء وكتب الساعة في دفتره ثم شرب قهوته.",
    "لم يعرف أحد كم برميلا من الزيت حمل البحارة في اليوم السابق.",
)
HEBREW = (
    "הנמל היה שקט בערב והספינות חזרו לאט מן הים.",
    "שומר המגדלור הדליק את האור, רשם את השעה בפנקס ושתה את הקפה שלו.",
    "איש לא ידע כמה חביות שמן העמיסו המלחים ביום הקודם.",
)
THAI = (
    "ท่าเรือเงียบสงบในตอนเย็นและเรือค่อยๆ กลับมาจากทะเล",
    "คนเฝ้าประภาคารจุดไฟ จดเวลาลงในสมุด แล้วดื่มกาแฟของเขา",
    "ไม่มีใครรู้ว่าเมื่อวานกะลาสีขนน้ำมันขึ้นเรือกี่ถัง",
)
RUSSIAN = (
    "Вечером в гавани было тихо, и корабли медленно возвращались с моря.",
    "Смотритель маяка зажёг огонь, записал время в книгу и выпил свой кофе.",
)
UKRAINIAN = (
    "Увечері в гавані було тихо, і кораблі поволі поверталися з моря.",
    "Доглядач маяка засвітив вогонь, записав час у книгу й випив свою каву.",
)
BULGARIAN = (
    "Вечерта пристанището беше тихо и корабите бавно се връщаха от морето.",
    "Пазачът на фара запали светлината, записа часа в книгата и изпи кафето си.",
)
TURKISH = (
    "Akşam liman sessizdi ve gemiler denizden yavaşça dönüyordu.",
    "Yarın şiddetli rüzgâr esecek, bu yüzden balıkçılar teknelerini sıkıca bağladı.",
)
POLISH = (
    "Wieczorem w porcie było cicho, a statki powoli wracały z morza.",
    "Jutro powieje silny wiatr, więc rybacy mocno przywiązali swoje łódki.",
)
CZECH = ("Večer bylo v přístavu ticho a lodě se pomalu vracely z moře.",)
SLOVENE = ("Zvečer je bilo pristanišče tiho in ladje so se počasi vračale z morja.",)
ROMANIAN = ("Seara portul era liniştit şi vapoarele se întorceau încet de pe mare.",)
HUNGARIAN = (
    "Este csendes volt a kikötő, és a hajók lassan tértek vissza a tengerről.",
    "Holnap erős szél fog fújni, ezért a halászok jól megkötötték a csónakjaikat.",
)
LITHUANIAN = (
    "Vakare uostas buvo tylus, o laivai lėtai grįžo iš jūros.",
    "Švyturio sargas uždegė šviesą, įrašė laiką į knygą ir išgėrė kavą.",
)
LATVIAN = (
    "Vakarā osta bija klusa, un kuģi lēnām atgriezās no jūras.",
    "Rīt pūtīs stiprs vējš, tāpēc zvejnieki cieši piesēja savas laivas.",
)
ICELANDIC = ("Þetta er höfnin, og skipin sneru hægt aftur úr hafinu í kvöld. Það er gott.",)
CATALAN = ("L'il·lusió és gran, però no ho sé. Això és així.",)
VIETNAMESE = ("Buổi tối bến cảng yên tĩnh và những con tàu chậm rãi trở về từ biển.",)

CASES = [
    *((GREEK, encoding) for encoding in ("iso8859_7", "cp1253")),
    *((ARABIC, encoding) for encoding in ("cp1256", "iso8859_6")),
    *((HEBREW, encoding) for encoding in ("cp1255", "iso8859_8")),
    *((THAI, encoding) for encoding in ("cp874", "tis_620")),
    *((RUSSIAN, encoding) for encoding in ("cp1251", "koi8_r", "cp866", "iso8859_5")),
    *((UKRAINIAN, encoding) for encoding in ("cp1251", "koi8_u")),
    (BULGARIAN, "cp1251"),
    *((TURKISH, encoding) for encoding in ("cp1254", "iso8859_9")),
    *((POLISH, encoding) for encoding in ("cp1250", "iso8859_2", "cp852")),
    *((CZECH, encoding) for encoding in ("cp1250", "iso8859_2")),
    *((SLOVENE, encoding) for encoding in ("cp1250", "iso8859_2")),
    *((ROMANIAN, encoding) for encoding in ("cp1250", "iso8859_2")),
    *((HUNGARIAN, encoding) for encoding in ("cp1250", "iso8859_2")),
    *((LITHUANIAN, encoding) for encoding in ("cp1257", "iso8859_13")),
    *((LATVIAN, encoding) for encoding in ("cp1257", "iso8859_13")),
    (ICELANDIC, "cp1252"),
    (CATALAN, "cp1252"),
    (VIETNAMESE, "cp1258"),
]
VIETNAMESE_TONES = "\u0300\u0301\u0303\u0309\u0323"


def encoded(text: str, encoding: str) -> bytes:
    """Vietnamese has its tones as characters of their own."""
    if encoding != "cp1258":
        return text.encode(encoding)
    parts = (unicodedata.normalize("NFD", letter) for letter in text)
    split = ((part.translate(dict.fromkeys(map(ord, VIETNAMESE_TONES))), part) for part in parts)
    whole = (
        unicodedata.normalize("NFC", base) + "".join(c for c in part if c in VIETNAMESE_TONES) for base, part in split
    )
    return "".join(whole).encode(encoding)


def read(data: bytes, name: str = "a.txt", media_type: str = "") -> str:
    return extract(Source(name=name, media_type=media_type), data).text


@pytest.mark.parametrize(("sentences", "encoding"), CASES)
def test_a_sentence_is_read_in_its_encoding(sentences: tuple[str, ...], encoding: str) -> None:
    for sentence in sentences:
        assert read(encoded(sentence, encoding)) == sentence


@pytest.mark.parametrize("size", [400, 4_000])
@pytest.mark.parametrize(("sentences", "encoding"), CASES)
def test_a_longer_text_is_read_in_its_encoding(sentences: tuple[str, ...], encoding: str, size: int) -> None:
    text = "\n".join(sentences * (size // len("\n".join(sentences)) + 1))
    assert len(encoded(text, encoding)) >= size
    assert read(encoded(text, encoding)) == text


def test_names_of_many_languages_do_not_make_a_text_turkish() -> None:
    text = "Towns and waters: Besançon, Malmö, Hvalfjörður, Cádiz, Bodø, Zürich."
    assert read(text.encode("cp1252")) == text


@pytest.mark.parametrize("word", ["año", "às vezes", "déjà vu"])
def test_a_western_word_is_no_chinese_one(word: str) -> None:
    assert read(word.encode("cp1252")) == word


DECLARED = [
    ("windows-1253", "cp1253", "Ναι"),
    ("ISO-8859-7", "iso8859_7", "Ναι"),
    ("windows-1256", "cp1256", "نعم"),
    ("iso-8859-6", "iso8859_6", "نعم"),
    ("windows-1255", "cp1255", "כן"),
    ("iso-8859-8-i", "iso8859_8", "כן"),
    ("windows-874", "cp874", "ใช่"),
    ("TIS-620", "tis_620", "ใช่"),
    ("iso-8859-13", "iso8859_13", "Rīt"),
    ("iso-8859-4", "iso8859_4", "Rīt"),
    ("x-mac-cyrillic", "mac_cyrillic", "Да"),
    ("EUC-JP", "euc_jp", "はい"),
    ("x-sjis", "shift_jis", "はい"),
]


@pytest.mark.parametrize(("charset", "encoding", "word"), DECLARED)
def test_a_word_too_short_to_tell_is_read_as_declared(charset: str, encoding: str, word: str) -> None:
    data = word.encode(encoding)
    assert read(data, media_type=f"text/plain; charset={charset}") == word
    page = f'<meta http-equiv="Content-Type" content="text/html; charset={charset}"><p>'.encode()
    assert read(page + data, "a.html") == word
    assert read(f'<meta charset="{charset}"><p>'.encode() + data, "a.html") == word
