"""What a browser does with pages of logins: redirects, cookies, and forms."""
import requests
import requests.adapters
from openid_connect import Page

ADDRESS = '127.0.0.9'


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
        form = Page(page)
        if form.action is None:
            raise AssertionError('no form: %s %s' % (page.status_code, page.text[:300]))
        return self.post(form.action, data={**form.fields, **fields}, timeout=60)
