"""What mkdocs.yml needs beside the pages: files that they link to outside docs/, and the list of routes."""
import json
import os
import re

from mkdocs.structure.files import File

OUTSIDE = re.compile(r'\]\(\.\./((?:contrib|demo|server|tests)/[^)#]+)')


def on_files(files, config):
    """A file that a page links to is on the site too."""
    root = os.path.dirname(config['config_file_path'])
    for page in files.documentation_pages():
        for path in OUTSIDE.findall(page.content_string):
            if not files.get_file_from_path(path):
                files.append(File.generated(config, path, abs_src_path=os.path.join(root, path)))
    return files


def on_page_markdown(markdown, page, config, files):
    text = OUTSIDE.sub(r'](\1', markdown)
    return text.replace('<!-- routes -->', routes(config['docs_dir'])) if '<!-- routes -->' in text else text


def routes(docs):
    """The routes of openapi.json as a table."""
    with open(os.path.join(docs, 'openapi.json')) as f:
        paths = json.load(f)['paths']
    rows = ['| `%s` | %s |' % (path, ', '.join(
        m.upper() for m in ('get', 'head', 'post', 'put', 'patch', 'delete') if m in methods))
        for path, methods in paths.items()]
    return '\n'.join(['| Path | |', '| --- | --- |', *rows])
