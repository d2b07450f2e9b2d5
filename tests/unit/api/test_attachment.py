import pytest

from copilot_api.http.attachment import content_disposition, safe_media_type


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("plan.pdf", "attachment; filename=\"plan.pdf\"; filename*=UTF-8''plan.pdf"),
        ('a "b".pdf', "attachment; filename=\"a _b_.pdf\"; filename*=UTF-8''a%20%22b%22.pdf"),
        ("文書.pdf", "attachment; filename=\"__.pdf\"; filename*=UTF-8''%E6%96%87%E6%9B%B8.pdf"),
        ("50%.txt", "attachment; filename=\"50_.txt\"; filename*=UTF-8''50%25.txt"),
        ("a\\b;c.txt", "attachment; filename=\"a_b;c.txt\"; filename*=UTF-8''a%5Cb%3Bc.txt"),
    ],
)
def test_a_name_is_told_in_ascii_and_as_it_is(name: str, header: str) -> None:
    assert content_disposition(name) == header


@pytest.mark.parametrize("declared", ["text/html", "image/svg+xml", "application/xhtml+xml", "", None, "pdf"])
def test_what_a_browser_might_run_is_told_as_bytes(declared: str | None) -> None:
    assert safe_media_type(declared) == "application/octet-stream"
