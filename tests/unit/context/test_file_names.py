import pytest

from copilot_common.base.errors import CopilotError
from copilot_domain.context.file_names import clean_file_name, refuse_hopeless, suffix_of


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("plan.txt", "plan.txt"),
        ("/etc/passwd", "passwd"),
        ("C:\\me\\plan.txt", "plan.txt"),
        ("a/b\\c.txt", "c.txt"),
        ("tab\there\r\n.txt", "tab here .txt"),
        ("no\0nul.txt", "nonul.txt"),
        ("evil\u202etxt.exe", "eviltxt.exe"),
        ("no\u00a0break.txt", "no break.txt"),
        ("cafe\u0301.txt", "caf\u00e9.txt"),
        ("  spaces  .txt ", "spaces .txt"),
        ("folder/", ""),
        ("..", ""),
        ("\x01\x02", ""),
        ("", ""),
    ],
)
def test_a_name_is_kept_without_folders_and_control_characters(given: str, kept: str) -> None:
    assert clean_file_name(given) == kept


@pytest.mark.parametrize(("name", "suffix"), [("a.TXT", ".txt"), ("a.tar.gz", ".gz"), ("a", ""), ("a.b c", "")])
def test_a_suffix_is_what_follows_the_last_dot(name: str, suffix: str) -> None:
    assert suffix_of(name) == suffix


@pytest.mark.parametrize(("name", "media_type"), [("a.svg", "image/svg+xml"), ("a.ts", "video/mp2t"), ("a.md", "")])
def test_what_may_hold_text_is_let_in(name: str, media_type: str) -> None:
    refuse_hopeless(name, media_type, which="files[0]")


@pytest.mark.parametrize(("name", "media_type"), [("a.PNG", ""), ("a.txt", "audio/mpeg"), ("a", "application/x-elf")])
def test_what_cannot_is_not(name: str, media_type: str) -> None:
    with pytest.raises(CopilotError) as refused:
        refuse_hopeless(name, media_type, which="files[0]")
    assert refused.value.code == "UNSUPPORTED_MEDIA_TYPE"
