"""Tests of how long TrustedPoolFilter waits for a server, and which server it believes."""
from test_trustpool_nova_filter import Case  # first of all: eventlet's patches

import os
import tempfile
import threading
import time

import fault_server


class Time(Case):
    """A query ends in time, whatever the server does."""

    def bounded(self, drip=None, hang=None):
        before = set(threading.enumerate())
        server = self.server(drip=drip, hang=hang)
        self.set(timeout=0.5)
        start = time.monotonic()
        self.refuses(says='timed out|has not answered in 0.5 s')
        took = time.monotonic() - start
        self.assertLess(took, 5)  # on a busy machine; whoever waits for the server takes 20
        self.assertGreater(took, 0.4)
        mine = set(server.threads) | before
        for thread in set(threading.enumerate()) - mine:
            thread.join(5)
            self.assertFalse(thread.is_alive(), f'{thread} was left behind')

    def test_nobody_accepts(self):
        self.bounded(hang='accept')

    def test_the_handshake_never_begins(self):
        self.bounded(hang='handshake')

    def test_the_answer_never_comes(self):
        self.bounded(hang='answer')

    def test_the_handshake_drips(self):
        self.bounded(drip='handshake')

    def test_the_headers_drip(self):
        self.bounded(drip='headers')

    def test_the_body_drips(self):
        self.bounded(drip='body')

    def test_nobody_is_there(self):
        self.server().__exit__()
        self.refuses(says='Refused')

    def test_a_name_that_does_not_exist(self):
        self.set(url='https://trustpool.invalid:8443')
        self.refuses()


class TLS(Case):
    """Who is believed."""

    def untrusted(self, **behaviour):
        server = self.server(**behaviour)
        self.refuses(says='certificate verify failed')
        self.assertEqual([], server.queries)

    def test_the_right_server(self):
        server = self.server()
        self.assertEqual(self.names, self.passing())
        self.set(url=server.url.replace('127.0.0.1', 'localhost') + '/')
        self.assertEqual(self.names, self.passing())

    def test_a_certificate_for_another_name(self):
        self.untrusted(certificate='stranger.pem')
        server = self.server(certificate='address.pem')
        self.assertEqual(self.names, self.passing())
        self.set(url=server.url.replace('127.0.0.1', 'localhost'))
        self.refuses(says='certificate verify failed')

    def test_a_ca_that_is_not_the_configured_one(self):
        with tempfile.TemporaryDirectory() as folder:
            fault_server.make_pki(folder)
            self.set(cafile=os.path.join(folder, 'ca.pem'))
            self.untrusted()

    def test_a_ca_that_the_system_does_not_know(self):
        self.set(cafile=None)
        self.untrusted()

    def test_a_ca_file_that_is_missing_or_empty(self):
        server = self.server()
        for content in (None, b'', b'no certificate'):
            self.set(cafile=self.path('other.pem'))
            if content is not None:
                self.write('other.pem', content)
            self.refuses()
        self.assertEqual([], server.queries)

    def test_no_tls(self):
        server = self.server(tls=False)
        self.refuses()
        self.assertEqual([], server.queries)
        for url in (server.url.replace('https', 'http'), '127.0.0.1:8443', ''):
            with self.assertRaises(ValueError):
                self.set(url=url)
