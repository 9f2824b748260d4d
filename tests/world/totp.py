"""Passcodes (RFC 6238), as the application on a telephone makes them."""
import base64
import hashlib
import hmac
import struct
import time


def passcode(secret, at=None):
    """Of a secret in base32, now or at a time."""
    window = int(time.time() if at is None else at) // 30
    key = base64.b32decode(secret + '=' * (-len(secret) % 8))
    digest = hmac.digest(key, struct.pack('>Q', window), hashlib.sha1)
    begin = digest[-1] & 15
    return '%06d' % ((struct.unpack('>I', digest[begin:begin + 4])[0] & 0x7fffffff) % 10**6)
