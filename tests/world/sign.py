"""Signed requests as a service in the middle forwards them for an exchange.

Each function gives the body of a POST to /v3/ec2tokens (or /v3/s3tokens) for a
request that somebody signed with a keypair. The signing is done by the libraries
that the signers use: keystoneclient's Ec2Signer for the old versions, botocore for
version 4. `age` is how old the signature is, in seconds; below 0 is the future.
"""
import base64
import contextlib
import datetime
import hashlib
import hmac
import urllib.parse

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from keystoneclient.contrib.ec2.utils import Ec2Signer

HOST = 'heat.example.org:8000'
ACTION = {'Action': 'DescribeStackResource', 'StackName': 'one & two/three',
          'LogicalResourceId': 'server', 'ContentType': 'JSON'}


def _time(age):
    return (datetime.datetime.now(datetime.UTC)
            - datetime.timedelta(seconds=age))


@contextlib.contextmanager
def _botocore_time(age):
    """botocore asks its own clock; let it be wrong by that much."""
    real = botocore.auth.get_current_datetime
    botocore.auth.get_current_datetime = lambda *a, **kw: (
        real(*a, **kw) - datetime.timedelta(seconds=age))
    try:
        yield
    finally:
        botocore.auth.get_current_datetime = real


def _old(access, secret, version, age, timed, extra):
    params = dict(ACTION, AWSAccessKeyId=access, SignatureVersion=str(version))
    if timed:
        params['Timestamp'] = _time(age).strftime('%Y-%m-%dT%H:%M:%SZ')
    if version == 2:
        params['SignatureMethod'] = 'HmacSHA256'
    params.update(extra)
    request = {'access': access, 'host': HOST, 'verb': 'GET', 'path': '/v1/',
               'params': params, 'headers': {'Host': HOST}, 'body_hash': ''}
    request['signature'] = Ec2Signer(secret).generate(request)
    return {'credentials': request}


def ec2_v0(access, secret, age=0):
    return _old(access, secret, 0, age, True, {})


def ec2_v1(access, secret, age=0, timed=True):
    return _old(access, secret, 1, age, timed, {})


def ec2_v2(access, secret, age=0, timed=True, **extra):
    """Version 2; without a timestamp (`timed=False`) as in Heat's stored URLs."""
    return _old(access, secret, 2, age, timed, extra)


def ec2_v4_header(access, secret, age=0, verb='POST', service='cloudformation'):
    """Version 4, the signature in the Authorization header."""
    if verb == 'POST':
        url, data = 'http://%s/v1/' % HOST, urllib.parse.urlencode(ACTION)
        params = dict(ACTION)
    else:
        url, data = 'http://%s/v1/' % HOST, ''
        params = dict(ACTION)
        url += '?' + urllib.parse.urlencode(params, quote_via=urllib.parse.quote)
    request = AWSRequest(method=verb, url=url, data=data)
    if verb == 'POST':
        request.headers['Content-Type'] = 'application/x-www-form-urlencoded'
    with _botocore_time(age):
        botocore.auth.SigV4Auth(Credentials(access, secret), service,
                                'RegionOne').add_auth(request)
    headers = dict(request.headers.items(), Host=HOST)
    return {'credentials': {
        'access': access, 'host': HOST, 'verb': verb, 'path': '/v1/',
        'params': params, 'headers': headers,
        'body_hash': hashlib.sha256(data.encode()).hexdigest(),
        'signature': headers['Authorization'].rpartition('Signature=')[2]}}


def ec2_v4_query(access, secret, age=0):
    """Version 4, presigned: everything is in the query string."""
    url = 'http://%s/v1/?%s' % (HOST, urllib.parse.urlencode(
        ACTION, quote_via=urllib.parse.quote))
    request = AWSRequest(method='GET', url=url)
    with _botocore_time(age):
        botocore.auth.SigV4QueryAuth(Credentials(access, secret), 'cloudformation',
                                     'RegionOne', expires=600).add_auth(request)
    params = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(request.url).query,
                                         keep_blank_values=True))
    signature = params.pop('X-Amz-Signature')
    return {'credentials': {
        'access': access, 'host': HOST, 'verb': 'GET', 'path': '/v1/',
        'params': params, 'headers': {'Host': HOST},
        'body_hash': hashlib.sha256(b'').hexdigest(), 'signature': signature}}


class _S3(botocore.auth.S3SigV4Auth):
    def string_to_sign(self, request, canonical_request):
        self.signed = super().string_to_sign(request, canonical_request)
        return self.signed


def s3_v4(access, secret, age=0):
    """Version 4 for S3: the gateway sends the string that was signed."""
    request = AWSRequest(method='GET', url='http://%s/bucket/an%%20object' % HOST)
    signer = _S3(Credentials(access, secret), 's3', 'RegionOne')
    with _botocore_time(age):
        signer.add_auth(request)
    return {'credentials': {
        'access': access,
        'token': base64.urlsafe_b64encode(signer.signed.encode()).decode(),
        'signature': request.headers['Authorization'].rpartition('Signature=')[2]}}


def s3_v1(access, secret, age=0):
    """The first S3 signature: HMAC-SHA1 over verb, date and path."""
    date = _time(age).strftime('%a, %d %b %Y %H:%M:%S GMT')
    text = ('GET\n\n\n%s\n/bucket/object' % date).encode()
    mac = hmac.new(secret.encode(), text, hashlib.sha1).digest()
    return {'credentials': {
        'access': access, 'token': base64.urlsafe_b64encode(text).decode(),
        'signature': base64.b64encode(mac).decode()}}


def spoilt(body):
    """The same with one character of the signature changed."""
    c = dict(body['credentials'])
    first = c['signature'][0]
    c['signature'] = ('b' if first != 'b' else 'c') + c['signature'][1:]
    return {'credentials': c}


# door -> [(name, maker)]: every form that must be accepted
FORMS = {
    '/ec2tokens': [('version 2', ec2_v2), ('version 4, header', ec2_v4_header),
                   ('version 4, header, GET',
                    lambda a, s: ec2_v4_header(a, s, verb='GET')),
                   ('version 4, presigned query', ec2_v4_query)],
    '/s3tokens': [('S3 version 4', s3_v4), ('S3 version 1', s3_v1)],
}
OLD_FORMS = [('version 0', ec2_v0), ('version 1', ec2_v1)]
