"""A TLS server for tests that answers one query as it is told, also wrongly, slowly or never."""
import datetime
import ipaddress
import json
import os
import socket
import ssl
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


def make_pki(folder):
    """Writes ca.pem, and certificates with keys: server.pem for this machine, address.pem for its
    address only, stranger.pem for another name."""
    now = datetime.datetime.utcnow()

    def certificate(subject, issuer, public, signer, ca, names):
        builder = (x509.CertificateBuilder()
                   .subject_name(subject).issuer_name(issuer).public_key(public)
                   .serial_number(x509.random_serial_number())
                   .not_valid_before(now - datetime.timedelta(hours=1))
                   .not_valid_after(now + datetime.timedelta(hours=1))
                   .add_extension(x509.BasicConstraints(ca, None), critical=True))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def name(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    authority = ec.generate_private_key(ec.SECP256R1())
    with open(os.path.join(folder, 'ca.pem'), 'wb') as file:
        public = authority.public_key()
        file.write(certificate(name('ca'), name('ca'), public, authority, True, []))
    address = x509.IPAddress(ipaddress.ip_address('127.0.0.1'))
    for file_name, names in (('server', [x509.DNSName('localhost'), address]),
                             ('address', [address]),
                             ('stranger', [x509.DNSName('other.example')])):
        key = ec.generate_private_key(ec.SECP256R1())
        with open(os.path.join(folder, file_name + '.pem'), 'wb') as file:
            file.write(certificate(name('server'), name('ca'), key.public_key(), authority, False,
                                   names))
            file.write(key.private_bytes(serialization.Encoding.PEM,
                                         serialization.PrivateFormat.PKCS8,
                                         serialization.NoEncryption()))


def text(status='200 OK', body=b'', headers=''):
    """Returns an answer of HTTP/1.1."""
    return (f'HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}'
            f'Content-Length: {len(body)}\r\n\r\n').encode() + body


def verdicts(hosts):
    """Returns the answer of a server to a query, as entries or as it would be sent."""
    return text(body=json.dumps({'evaluated_at': stamp(0), 'hosts': hosts}).encode())


def stamp(seconds):
    """Returns the time so many seconds from now, as the server writes it."""
    at = datetime.datetime.utcnow() + datetime.timedelta(seconds=seconds)
    return at.strftime('%Y-%m-%dT%H:%M:%S.%f789Z')


def trusted(host, **changes):
    """Returns an entry of the answer."""
    return {'host': host, 'node': host, 'pool': 'gold', 'trust': 'trusted', 'reason': 'ok',
            'expires_at': stamp(60), 'generation': 7, **changes}


class Server:
    """Answers each connection with what answer(names) returns, unless it is to do that slowly:
    drip is 'handshake', 'headers' or 'body', which leaves byte by byte then; or never: hang is
    'accept', 'handshake' or 'answer', which does not happen."""

    def __init__(self, certificate, answer, drip=None, hang=None, tls=True):
        self.answer, self.drip, self.hang = answer, drip, hang
        self.queries, self.connections = [], 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
        if tls:
            self.context.load_cert_chain(certificate)
        self.ended = threading.Event()
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.url = 'https://127.0.0.1:%d' % self.listener.getsockname()[1]
        self.threads = []
        if hang != 'accept':
            self.start(self.accept)

    def start(self, target, *args):
        self.threads.append(threading.Thread(target=target, args=args, daemon=True))
        self.threads[-1].start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()
        if self.threads and self.threads[0].is_alive():
            socket.create_connection(self.listener.getsockname()).close()  # wakes accept
        self.listener.close()
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive(), 'the client still holds its connection'

    def accept(self):
        while not self.ended.is_set():
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            if self.ended.is_set():
                link.close()
                return
            self.connections += 1
            self.start(self.serve, link)

    def serve(self, link):
        try:
            with link:
                if self.hang == 'handshake':
                    self.until_gone(link)
                elif self.context is None:
                    link.sendall(self.answer([]))
                else:
                    self.talk(link)
        except OSError:
            pass  # the client went away

    def until_gone(self, link):
        """Reads until the client goes away, for as long as a test may last."""
        link.settimeout(20)
        while link.recv(4096):
            pass

    def talk(self, link):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(incoming, outgoing, server_side=True)

        def send(slowly):
            data = outgoing.read()
            for i in range(0, len(data), 1 if slowly else len(data) or 1):
                link.sendall(data[i:i + 1] if slowly else data)
                if slowly:
                    time.sleep(0.05)

        def step(act):
            while True:
                try:
                    result = act()
                    send(self.drip == 'handshake')
                    return result
                except ssl.SSLWantReadError:
                    send(self.drip == 'handshake')
                    data = link.recv(65536)
                    if not data:
                        raise ConnectionResetError from None
                    incoming.write(data)

        step(tls.do_handshake)
        request = b''
        while b'\r\n\r\n' not in request:
            request += step(lambda: tls.read(65536))
        head, _, body = request.partition(b'\r\n\r\n')
        length = [int(line.split(b':')[1]) for line in head.split(b'\r\n')
                  if line.lower().startswith(b'content-length')][0]
        while len(body) < length:
            body += step(lambda: tls.read(65536))
        names = json.loads(body)['hosts']
        self.queries.append((head.decode('latin-1'), names))
        if self.hang == 'answer':
            self.until_gone(link)
        answer = self.answer(names)
        quick = answer.find(b'\r\n\r\n') + 4 if self.drip == 'body' else 0
        if not self.drip:
            quick = len(answer)
        if quick:
            tls.write(answer[:quick])
            send(False)
        for i in range(quick, len(answer)):
            tls.write(answer[i:i + 1])
            send(False)
            time.sleep(0.05)
