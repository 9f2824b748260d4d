"""A small client of the Identity v3 API that hides nothing: one call, one answer.

Used where the tests are about bodies and status codes; the story with the
clients that people use is in clients.py.
"""
import datetime
import http.client
import json
import urllib.parse


class Answer:
    def __init__(self, method, path, status, headers, raw):
        self.method, self.path = method, path
        self.status, self.headers, self.raw = status, headers, raw
        self.text = raw.decode('utf-8', 'replace')

    @property
    def body(self):
        return json.loads(self.raw) if self.raw else None

    def want(self, *statuses):
        """Itself if its status is one of these; for steps that only prepare."""
        if self.status not in statuses:
            raise AssertionError('%s %s -> %s %s' % (
                self.method, self.path, self.status, self.text[:600]))
        return self


class Token:
    def __init__(self, answer):
        answer.want(200, 201)
        self.id = answer.headers.get('X-Subject-Token')
        self.body = answer.body['token']
        self.user = self.body['user']['id']

    @property
    def roles(self):
        return sorted(r['name'] for r in self.body.get('roles', []))

    @property
    def expires(self):
        return when(self.body['expires_at'])


def when(text):
    """A time of the API as a datetime in UTC, or None."""
    if text is None:
        return None
    return datetime.datetime.fromisoformat(text.replace('Z', '+00:00'))


def stamp(seconds_from_now):
    """A time of the API, that far from now."""
    t = datetime.datetime.now(datetime.UTC) + datetime.timedelta(
        seconds=seconds_from_now)
    return t.strftime('%Y-%m-%dT%H:%M:%S.%fZ')


def project(id):
    return {'project': {'id': id}}


def domain(id):
    return {'domain': {'id': id}}


def trust(id):
    return {'OS-TRUST:trust': {'id': id}}


SYSTEM = {'system': {'all': True}}


class Api:
    """Calls to one server; `url` is its .../v3."""

    def __init__(self, url):
        self.url = url.rstrip('/')
        self._parts = urllib.parse.urlsplit(self.url)

    def call(self, method, path, token=None, body=None, headers=None):
        kind = (http.client.HTTPSConnection if self._parts.scheme == 'https'
                else http.client.HTTPConnection)
        conn = kind(self._parts.netloc, timeout=60)
        head = {'Accept': 'application/json'}
        if token is not None:
            head['X-Auth-Token'] = token.id if isinstance(token, Token) else token
        data = None
        if body is not None:
            data = json.dumps(body)
            head['Content-Type'] = 'application/json'
        head.update(headers or {})
        try:
            conn.request(method, self._parts.path + path, data, head)
            r = conn.getresponse()
            return Answer(method, path, r.status, r.headers, r.read())
        finally:
            conn.close()

    def get(self, path, token=None, **kw):
        return self.call('GET', path, token, **kw)

    def post(self, path, token=None, body=None, **kw):
        return self.call('POST', path, token, body, **kw)

    def put(self, path, token=None, body=None, **kw):
        return self.call('PUT', path, token, body, **kw)

    def patch(self, path, token=None, body=None, **kw):
        return self.call('PATCH', path, token, body, **kw)

    def delete(self, path, token=None, **kw):
        return self.call('DELETE', path, token, **kw)

    # logins: the *_answer form gives whatever comes, the short one a Token

    def login_answer(self, user, password, scope=None):
        """`user` is an id, or (name, domain id)."""
        who = {'id': user} if isinstance(user, str) else {
            'name': user[0], 'domain': {'id': user[1]}}
        auth = {'identity': {'methods': ['password'], 'password': {
            'user': dict(who, password=password)}}}
        if scope:
            auth['scope'] = scope
        return self.post('/auth/tokens', body={'auth': auth})

    def login(self, user, password, scope=None):
        return Token(self.login_answer(user, password, scope))

    def exchange_answer(self, token, scope=None):
        """A token for a token."""
        auth = {'identity': {'methods': ['token'], 'token': {
            'id': token.id if isinstance(token, Token) else token}}}
        if scope:
            auth['scope'] = scope
        return self.post('/auth/tokens', body={'auth': auth})

    def exchange(self, token, scope=None):
        return Token(self.exchange_answer(token, scope))

    def admin(self, password, scope=None):
        """The bootstrapped administrator, on the project `admin` by default."""
        return self.login(('admin', 'default'), password, scope or {
            'project': {'name': 'admin', 'domain': {'id': 'default'}}})

    def validate(self, token, subject):
        return self.get('/auth/tokens', token, headers={
            'X-Subject-Token': subject.id if isinstance(subject, Token) else subject})

    def revoke(self, token, subject):
        return self.delete('/auth/tokens', token, headers={
            'X-Subject-Token': subject.id if isinstance(subject, Token) else subject})

    # one-line makers for scenes; each gives the id

    def make(self, token, kind, collection=None, **attributes):
        path = '/' + (collection or kind + 's')
        return self.post(path, token, {kind: attributes}).want(201).body[kind]['id']

    def role_ids(self, token):
        roles = self.get('/roles', token).want(200).body['roles']
        return {r['name']: r['id'] for r in roles if not r.get('domain_id')}

    def grant(self, token, role, user, project_id):
        self.put('/projects/%s/users/%s/roles/%s' % (project_id, user, role),
                 token).want(204)

    def campus(self, token, protocol, rules, *remote_ids):
        """A provider `campus`, with a domain of that name whose group `staff` is a member of the project `lab`.

        Returns the ids of the domain and the project."""
        domain = self.make(token, 'domain', name='campus')
        project = self.make(token, 'project', name='lab', domain_id=domain)
        group = self.make(token, 'group', name='staff', domain_id=domain)
        self.put('/projects/%s/groups/%s/roles/%s' % (project, group, self.role_ids(token)['member']), token).want(204)
        path = '/OS-FEDERATION/identity_providers/campus'
        self.put('/OS-FEDERATION/mappings/campus', token, {'mapping': {'rules': rules}}).want(201)
        self.put(path, token, {'identity_provider': {
            'enabled': True, 'domain_id': domain, 'authorization_ttl': 480, 'remote_ids': list(remote_ids)}}).want(201)
        self.put('%s/protocols/%s' % (path, protocol), token, {'protocol': {'mapping_id': 'campus'}}).want(201)
        return domain, project

    def trust_answer(self, token, trustor, trustee, project_id, role_names, **more):
        body = {'trustor_user_id': trustor, 'trustee_user_id': trustee,
                'project_id': project_id, 'impersonation': True,
                'roles': [{'name': r} for r in role_names]}
        body.update(more)
        return self.post('/OS-TRUST/trusts', token, {'trust': body})

    def trust(self, *args, **more):
        return self.trust_answer(*args, **more).want(201).body['trust']
