"""Tests of TrustedPoolFilter in the Nova that is installed here, with a server that also errs.

They are run twice: with eventlet's patches, as nova-scheduler runs, and without them, with
OS_NOVA_DISABLE_EVENTLET_PATCHING=1.
"""
import nova.monkey_patch  # noqa: F401, I100  before whatever opens connections

import json
import logging
import os
import tempfile
import unittest

import fault_server
from nova import objects
from nova.scheduler import filters
from nova.scheduler import host_manager
from oslo_config import cfg

assert nova.monkey_patch
PATH = 'trustpool_nova_filter.TrustedPoolFilter'
ASKS = {'trust:trusted_host': 'trusted'}
TOKEN = 'tp_0123456789'


def all_trusted(names):
    return fault_server.verdicts([fault_server.trusted(name) for name in names])


def request(extra_specs, image=None, **fields):
    """Returns a request of one guest, as Nova hands it to its filters."""
    if image is not None:
        image = objects.ImageMeta.from_dict({'properties': image})
    return objects.RequestSpec(
        flavor=objects.Flavor(name='small', extra_specs=extra_specs), image=image,
        instance_uuid='b0d1e2f3-0000-4000-8000-000000000001', num_instances=1, **fields)


class Case(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        objects.register_all()
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        fault_server.make_pki(cls.folder.name)
        cfg.CONF([], project='nova', default_config_files=[])
        cls.handler = filters.HostFilterHandler()
        cls.filters = [one() for one in cls.handler.get_matching_classes([PATH])]

    def setUp(self):
        for option in cfg.CONF.trustpool:
            self.addCleanup(cfg.CONF.clear_override, option, 'trustpool')
        self.write('token', TOKEN + '\n')
        self.set(cafile=self.path('ca.pem'), token_file=self.path('token'), timeout=10)
        self.hosts = [host_manager.HostState(host, node, None) for host, node in
                      (('c1', 'node1.example'), ('c2', 'Node2'), ('c3', 'a'), ('c3', 'b'))]
        self.names = ['Node2', 'a', 'b', 'node1.example']

    def set(self, **options):
        for name, value in options.items():
            cfg.CONF.set_override(name, value, 'trustpool')

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def write(self, name, content):
        with open(self.path(name), 'wb') as file:
            file.write(content if isinstance(content, bytes) else content.encode())

    def server(self, answer=all_trusted, certificate='server.pem', **behaviour):
        server = fault_server.Server(self.path(certificate), answer, **behaviour)
        self.addCleanup(server.__exit__)
        self.set(url=server.url)
        return server

    def passing(self, spec=None, hosts=None, index=0):
        """Returns the nodes of the hosts that Nova's own handler leaves."""
        hosts = self.hosts if hosts is None else hosts
        left = self.handler.get_filtered_objects(
            self.filters, iter(hosts), spec or request(ASKS), index)
        return sorted(host.nodename for host in left)

    def refuses(self, spec=None, says='.'):
        """Checks that nobody passes, and that the log says why and does not tell the token."""
        with self.assertLogs('trustpool_nova_filter', logging.ERROR) as logs:
            self.assertEqual([], self.passing(spec))
        self.assertEqual(1, len(logs.output), logs.output)
        self.assertRegex(logs.output[0], says)
        self.assertNotIn(TOKEN, logs.output[0])


class Demands(Case):
    """Who is asked for."""

    def test_plain_guests_are_left_alone(self):
        server = self.server()
        for name, spec in {
            'nothing': request({}),
            'no image properties': request({}, {}),
            'other keys': request({'hw:cpu_policy': 'dedicated', 'capabilities:x': 'trusted'}),
            'another trait': request({'trait:CUSTOM_OTHER': 'required'}),
            'another trait of the image': request({}, {'trait:CUSTOM_OTHER': 'required'}),
            'another trait of the request': request({}, request_level_params=(
                objects.RequestLevelParams(root_required={'CUSTOM_OTHER'}))),
            'the trait is forbidden': request({'trait:CUSTOM_TRUSTED_POOL': 'forbidden'}),
            'a longer name': request({'trait:CUSTOM_TRUSTED_POOL_2': 'required'}),
        }.items():
            with self.subTest(name):
                self.assertEqual(self.names, self.passing(spec))
        self.assertEqual([], server.queries)

    def test_plain_guests_do_not_need_the_configuration(self):
        self.set(url='https://127.0.0.1:1', token_file='/nowhere', cafile='/nowhere')
        self.assertEqual(self.names, self.passing(request({'trait:CUSTOM_OTHER': 'required'})))

    def test_each_demand_is_heard(self):
        trait = 'CUSTOM_TRUSTED_POOL'
        for name, spec in {
            'key': request(ASKS),
            'trait': request({'trait:' + trait: 'required'}),
            'trait with a value that Nova does not know': request({'trait:' + trait: 'Required'}),
            'trait without a value': request({'trait:' + trait: ''}),
            'trait of a numbered group': request({'trait1:' + trait: 'required'}),
            'trait of a named group': request({'trait_COMPUTE:' + trait: 'required'}),
            'one required, one forbidden': request(
                {'trait:' + trait: 'required', 'trait1:' + trait: 'forbidden'}),
            'trait of the image': request({}, {'trait:' + trait: 'required'}),
            'trait of the request': request({}, request_level_params=(
                objects.RequestLevelParams(root_required={trait}))),
        }.items():
            with self.subTest(name):
                server = self.server(lambda names: fault_server.verdicts(
                    [fault_server.trusted(name, trust='untrusted') if name != 'a' else
                     fault_server.trusted(name) for name in names]))
                self.assertEqual(['a'], self.passing(spec))
                self.assertEqual(1, len(server.queries))

    def test_a_demand_that_means_nothing_is_refused_unasked(self):
        server = self.server()
        for key, value in (
                ('trust:trusted_host', 'untrusted'), ('trust:trusted_host', 'unknown'),
                ('trust:trusted_host', 'Trusted'), ('trust:trusted_host', ''),
                ('trust:trusted_host', 'true'),
                ('trust:trusted_hosts', 'trusted'), ('Trust:trusted_host', 'trusted'),
                (' trust:trusted_host', 'trusted'), ('trust:', 'trusted'),
                ('trusted_host', 'trusted')):
            with self.subTest(key=key, value=value):
                self.refuses(request({key: value}), 'set trust:trusted_host=trusted')
                self.refuses(request({key: value, 'trait:CUSTOM_TRUSTED_POOL': 'required'}))
        self.assertEqual([], server.queries)

    def test_traits_are_those_of_the_configuration(self):
        server = self.server()
        self.set(traits=['CUSTOM_A', ' CUSTOM_B : gold  silver '])
        self.assertEqual(self.names, self.passing(request({'trait:CUSTOM_TRUSTED_POOL':
                                                           'required'})))
        self.assertEqual([], server.queries)
        for trait in ('CUSTOM_A', 'CUSTOM_B'):
            self.assertEqual(self.names, self.passing(request({'trait:' + trait: 'required'})))
        self.assertEqual(2, len(server.queries))

    def test_a_trait_of_a_pool_takes_its_pools_only(self):
        self.server(lambda names: fault_server.verdicts(
            [fault_server.trusted(name, pool=pool) for name, pool in
             zip(names, ('gold', 'silver', 'bronze', 'gold'))]))
        self.set(traits=['CUSTOM_ANY', 'CUSTOM_B:gold silver', 'CUSTOM_C:gold', 'CUSTOM_D:silver'])
        for traits, want in ((['ANY'], self.names), (['B'], ['Node2', 'a', 'node1.example']),
                             (['C'], ['Node2', 'node1.example']), (['C', 'D'], []),
                             (['B', 'C', 'ANY'], ['Node2', 'node1.example'])):
            with self.subTest(traits):
                spec = request({f'trait:CUSTOM_{name}': 'required' for name in traits})
                self.assertEqual(want, self.passing(spec))

    def test_a_request_that_can_not_be_read_is_refused(self):
        spec = request(ASKS)
        delattr(spec.flavor, '_obj_extra_specs')
        self.refuses(spec)


class Query(Case):
    """What is asked, and when."""

    def test_one_query_names_each_node_once(self):
        server = self.server()
        twins = self.hosts + [host_manager.HostState('c9', 'Node2', None)]
        self.assertEqual(sorted(self.names + ['Node2']), self.passing(hosts=twins))
        (head, names), = server.queries
        self.assertEqual(self.names, names)
        lines = head.split('\r\n')
        self.assertEqual('POST /v1/hosts:query HTTP/1.1', lines[0])
        self.assertIn('Authorization: Bearer ' + TOKEN, lines)
        self.assertIn('Content-Type: application/json', lines)

    def test_a_path_in_the_url_is_asked_below(self):
        server = self.server()
        self.set(url=server.url + '/trust/pool/')
        self.assertEqual(self.names, self.passing())
        self.assertTrue(server.queries[0][0].startswith('POST /trust/pool/v1/hosts:query HTTP'))

    def test_nothing_is_asked_about_no_hosts(self):
        server = self.server()
        self.assertEqual([], self.passing(hosts=[]))
        self.assertEqual([], server.queries)

    def test_further_instances_of_a_request_ask_no_more(self):
        server = self.server()
        for index in range(3):
            self.assertEqual(self.names, self.passing(index=index))
        self.assertEqual(1, len(server.queries))

    def test_each_request_asks_anew(self):
        now = ['trusted']
        server = self.server(lambda names: fault_server.verdicts(
            [fault_server.trusted(name, trust=now[0]) for name in names]))
        self.assertEqual(self.names, self.passing())
        now[0] = 'untrusted'
        self.assertEqual([], self.passing())
        now[0] = 'trusted'
        self.assertEqual(self.names, self.passing())
        self.assertEqual(3, len(server.queries))

    def test_a_rebuild_is_asked_about(self):
        server = self.server(lambda names: fault_server.verdicts(
            [fault_server.trusted(name, trust='untrusted') for name in names]))
        self.assertEqual([], self.passing(request(ASKS, scheduler_hints={
            '_nova_check_type': ['rebuild']})))
        self.assertEqual(1, len(server.queries))
        self.assertTrue(self.filters[0].RUN_ON_REBUILD)

    def test_the_token_is_read_again(self):
        server = self.server()
        for content in ('first', 'second\n', '\tthird \r\nsomething else\r\n'):
            self.write('token', content)
            self.assertEqual(self.names, self.passing())
        for word, (head, _) in zip(('first', 'second', 'third'), server.queries):
            self.assertIn(f'Authorization: Bearer {word}\r\n', head + '\r\n')

    def test_no_token_file_no_host(self):
        self.server()
        os.remove(self.path('token'))
        self.refuses(says='token')
        self.write('token', b'\xff\x00\r' + TOKEN.encode())
        self.server(lambda names: fault_server.text('401 Unauthorized'))
        self.refuses(says='401')

    def test_the_default_bounds_a_query_by_two_seconds(self):
        cfg.CONF.clear_override('timeout', 'trustpool')
        self.assertEqual(2, cfg.CONF.trustpool.timeout)


class Answers(Case):
    """What is believed."""

    def answered(self, *entries):
        self.server(lambda names: fault_server.verdicts(list(entries)))
        self.hosts = self.hosts[2:]  # a and b

    def test_only_the_trusted_pass(self):
        a = fault_server.trusted('a')
        for name, changes in {
            'untrusted': {'trust': 'untrusted', 'reason': 'pcr_mismatch'},
            'unknown': {'trust': 'unknown'},
            'untrusted without a reason': {'trust': 'untrusted', 'reason': ''},
            'another spelling': {'trust': 'Trusted'},
            'no word': {'trust': ''},
            'nothing': {'trust': None},
            'true': {'trust': True},
            'expired': {'expires_at': fault_server.stamp(-1)},
            'expired long ago': {'expires_at': '1970-01-01T00:00:00Z'},
        }.items():
            with self.subTest(name):
                self.hosts = [host_manager.HostState('c3', n, None) for n in ('', '', 'a', 'b')]
                self.answered(a, fault_server.trusted('b', **changes))
                with self.assertLogs('trustpool_nova_filter', logging.INFO) as logs:
                    self.assertEqual(['a'], self.passing())
                self.assertIn("('b', '", logs.output[0])

    def test_an_answer_that_is_not_as_it_has_to_be_is_not_believed(self):
        a, b = fault_server.trusted('a'), fault_server.trusted('b')
        for name, entries in {
            'an entry is missing': [a],
            'an entry too much': [a, b, fault_server.trusted('c')],
            'an entry twice': [a, a],
            'one entry twice besides': [a, b, b],
            'another order': [b, a],
            'another case': [a, fault_server.trusted('B')],
            'another name': [a, fault_server.trusted('b.example')],
            'no names': [{k: v for k, v in e.items() if k != 'host'} for e in (a, b)],
            'no verdict': [a, {'host': 'b'}],
            'no end': [a, {k: v for k, v in b.items() if k != 'expires_at'}],
            'an end that is no time': [a, fault_server.trusted('b', expires_at='soon')],
            'an end that is a number': [a, fault_server.trusted('b', expires_at=9e9)],
            'an end that is nothing': [a, fault_server.trusted('b', expires_at=None)],
            'entries that are no objects': ['a', 'b'],
            'entries that are nothing': [None, None],
            'no entries': [],
        }.items():
            with self.subTest(name):
                self.hosts = [host_manager.HostState('c3', n, None) for n in ('', '', 'a', 'b')]
                self.answered(*entries)
                self.refuses()

    def test_a_body_that_is_no_answer_is_not_believed(self):
        good = all_trusted(self.names)
        body = good.partition(b'\r\n\r\n')[2]
        for name, answer in {
            'empty': fault_server.text(),
            'text': fault_server.text(body=b'trusted'),
            'null': fault_server.text(body=b'null'),
            'a list': fault_server.text(body=b'[]'),
            'no hosts': fault_server.text(body=b'{}'),
            'null hosts': fault_server.text(body=b'{"hosts":null}'),
            'cut short': fault_server.text(body=body[:-1]),
            'cut short by the connection': good[:-1],
            'too long': fault_server.text(body=b' ' * (1 << 24) + body),
            'deep': fault_server.text(body=b'[' * 100000),
            'no HTTP': b'SSH-2.0-OpenSSH\r\n' + body,
            'nothing at all': b'',
        }.items():
            with self.subTest(name):
                self.server(lambda names: answer)
                self.refuses()

    def test_another_status_is_not_believed(self):
        body = all_trusted(self.names).partition(b'\r\n\r\n')[2]
        for status in (201, 202, 204, 206, 301, 307, 400, 401, 403, 404, 413, 422, 429, 500, 503):
            with self.subTest(status):
                other = self.server()
                server = self.server(lambda names: fault_server.text(
                    f'{status} X', body, f'Location: {other.url}/v1/hosts:query\r\n'))
                self.refuses(says=str(status))
                self.assertEqual((1, 0), (len(server.queries), other.connections))


class Configuration(Case):

    def test_a_file_sets_every_option(self):
        self.write('nova.conf', '[trustpool]\nurl = https://tp.example:1\ncafile = /ca\n'
                                'token_file = /token\ntimeout = 1.5\ntraits = A, B:x y\n')
        conf = cfg.ConfigOpts()
        group = cfg.CONF.trustpool._group
        conf.register_opts([info['opt'] for info in group._opts.values()], 'trustpool')
        conf(['--config-file', self.path('nova.conf')], project='nova')
        self.assertEqual(
            {'url': 'https://tp.example:1', 'cafile': '/ca', 'token_file': '/token',
             'timeout': 1.5, 'traits': ['A', 'B:x y']}, dict(conf.trustpool))

    def test_a_wrong_option_lets_no_host_pass(self):
        self.write('nova.conf', '[trustpool]\nurl = http://tp.example\n')
        for text in ('url = http://tp.example', 'timeout = never', 'timeout = 0'):
            with self.subTest(text):
                self.set(cafile=self.path('ca.pem'))
                self.write('nova.conf', f'[trustpool]\n{text}\n')
                for option in ('url', 'timeout'):
                    cfg.CONF.clear_override(option, 'trustpool')
                cfg.CONF(['--config-file', self.path('nova.conf')], project='nova')
                self.addCleanup(cfg.CONF, [], project='nova', default_config_files=[])
                self.refuses()
                self.assertEqual(self.names, self.passing(request({})))

    def test_every_option_has_a_help_text(self):
        for info in cfg.CONF.trustpool._group._opts.values():
            self.assertTrue(info['opt'].help)


if __name__ == '__main__':
    json.dumps(None)
    unittest.main()
