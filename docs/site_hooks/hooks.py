"""Events of mkdocs: pages from files outside ``docs/``, links to them, and parts that are generated from the package.

The pages are Markdown as GitHub shows it. Where mkdocs needs something else, it is changed here, not in the pages.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

from command_line import command_line_reference
from diagrams import with_drawings
from lists import with_wide_list_indents
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pictures import with_pictures_of_the_theme
from repository import Repository

_ROOT = Path(__file__).parents[2]
_repository = Repository(_ROOT)


# Before the search plugin and others look at the list of files.
@event_priority(100)
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that show files outside ``docs/`` to which pages link, and copies of pictures and data there."""
    pages = {file.src_uri: Path(file.abs_src_path or "") for file in files.documentation_pages()}
    for uri, source in _repository.collect(pages).items():
        content = _repository.page_of(source)
        added = (
            File.generated(config, uri, abs_src_path=os.fspath(source))
            if content is None
            else File.generated(config, uri, content=content)
        )
        files.append(added)
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Return a page's text with links between pages of the site, and in the form that Python-Markdown understands."""
    uri = PurePosixPath(page.file.src_uri)
    if uri == PurePosixPath("reference/command-line.md"):
        markdown = markdown.replace("<!-- help texts of all commands -->", command_line_reference())
    markdown = with_pictures_of_the_theme(with_wide_list_indents(markdown))
    markdown = _repository.with_links_of_the_site(markdown, uri)
    try:
        return with_drawings(markdown)
    except ValueError as error:
        raise PluginError(f"{uri}: {error}") from error
