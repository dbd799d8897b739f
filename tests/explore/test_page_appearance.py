"""The page of ``mgdali explore`` in a real browser: the narrow screen, the themes and their colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.explore_page import choose, open_page, wait_until_confirmed

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def test_a_narrow_screen_has_the_list_as_a_drawer(page: Page, link: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(link)
    page.locator("article h2").wait_for()
    assert not page.locator("#list").is_visible()
    page.get_by_role("button", name="Videos", exact=True).click()
    choose(page, "b.mp4")
    page.locator("#list").wait_for(state="hidden")
    wait_until_confirmed(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_dark_follows_the_system_until_the_user_chooses(page: Page, link: str) -> None:
    page.emulate_media(color_scheme="dark")
    open_page(page, link)
    theme = "() => document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "dark"
    page.keyboard.press("d")
    assert page.evaluate(theme) == "light"
    page.reload()
    wait_until_confirmed(page)
    assert page.evaluate(theme) == "light"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_have_enough_contrast(page: Page, link: str, theme: str) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    open_page(page, link)
    pairs = page.evaluate(
        """() => {
            const style = getComputedStyle(document.documentElement);
            const colour = (name) => style.getPropertyValue(`--${name}`).trim();
            const rows = ["row-A", "row-B", "row-C", "row-D", "row-E", "row-F"];
            const texts = ["ink", "soft", "accent", ...rows];
            const backs = ["paper", "raised", "page"];
            const pairs = texts.flatMap((text) => backs.map((back) => [text, back]));
            // Errors are shown in these colours: in a row of the list, below a control, in a panel, above the page.
            for (const back of [...backs, "band", "tint", "bad-tint"]) pairs.push(["bad", back]);
            for (const row of rows) pairs.push(["letter-ink", row]);
            return pairs.map(([text, back]) => [text, back, colour(text), colour(back)]);
        }"""
    )
    assert [(text, back) for text, back, a, b in pairs if _contrast(a, b) < 4.5] == []


def _contrast(one: str, other: str) -> float:
    """The contrast of two colours by the rules of WCAG 2."""

    def luminance(colour: str) -> float:
        channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
