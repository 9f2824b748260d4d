"""What a browser does with pages of logins: redirects, cookies, and forms."""
import html.parser
import urllib.parse

import requests
import requests.adapters

ADDRESS = '127.0.0.9'


class Form(html.parser.HTMLParser):
    """The first form of a page: where it goes, and its hidden fields."""

    def __init__(self, page):
        super().__init__()
        self.action, self.fields = None, {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == 'form' and self.action is None:
            self.action = attrs.get('action', '')
        elif tag == 'input' and attrs.get('name'):
            self.fields[attrs['name']] = attrs.get('value') or ''


class Browser(requests.Session):
    """Connects from an address of its own, and fills in forms."""

    def __init__(self, ca):
        super().__init__()
        # With `trust_env`, a variable of the environment would count more than `verify`.
        self.trust_env, self.verify = False, ca
        adapter = requests.adapters.HTTPAdapter()
        adapter.init_poolmanager(4, 4, source_address=(ADDRESS, 0))
        self.mount('https://', adapter)

    def submit(self, page, **fields):
        form = Form(page.text)
        if form.action is None:
            raise AssertionError('no form: %s %s' % (page.status_code, page.text[:300]))
        return self.post(urllib.parse.urljoin(page.url, form.action), data={**form.fields, **fields}, timeout=60)
