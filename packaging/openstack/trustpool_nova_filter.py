"""TrustedPoolFilter has nova-scheduler ask trustpool-server which hosts are trusted now."""
import concurrent.futures
import http.client
import json
import socket
import ssl
import threading

from nova.scheduler import filters
from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import timeutils

LOG = logging.getLogger(__name__)
cfg.CONF.register_opts([
    cfg.URIOpt('url', schemes=['https'], default='https://localhost:8443', help='The server'),
    cfg.StrOpt('cafile', help="PEM file with the CA of its certificate; unset: the system's CAs"),
    cfg.StrOpt('token_file', default='/etc/nova/trustpool.token', help='File with a reader token'),
    cfg.FloatOpt('timeout', default=2, min=0.1, max=60, help='Seconds for a whole query'),
    cfg.ListOpt('traits', default=['CUSTOM_TRUSTED_POOL'], help='TRAIT or TRAIT:POOL POOL...'),
], cfg.OptGroup('trustpool', help='How TrustedPoolFilter asks trustpool-server'))


class TrustedPoolFilter(filters.BaseHostFilter):
    """Leaves trusted hosts, if a guest demands trust. Whatever fails, none passes then."""
    RUN_ON_REBUILD = True
    run_filter_once_per_request = True  # further instances choose from what it left

    def filter_all(self, filter_obj_list, spec_obj):
        hosts = list(filter_obj_list)
        try:
            if not hosts or not (demands := _demands(spec_obj)):
                return hosts
            nodes = sorted({host.nodename for host in hosts})
            answers = _ask(cfg.CONF.trustpool, nodes)
            if [answer['host'] for answer in answers] != nodes:
                raise ValueError('the answers are not about the hosts that were asked for')
            faults = {answer['host']: _fault(answer, demands) for answer in answers}
        except Exception as e:
            LOG.error('Trust is demanded, and no host passes. Look after flavor, [trustpool] in '
                      'nova.conf, and trustpool-server: %s: %s', type(e).__name__, e)
            return []
        LOG.info('Faults, which trustpoolctl node show explains: %s', list(faults.items())[:50])
        return [host for host in hosts if not faults[host.nodename]]


def _demands(spec):
    """Returns for each demand of trust in which pools, [] for any; plain guests have none."""
    demands, traits = [], set(spec.root_required)
    for key, value in spec.flavor.extra_specs.items():
        if (key, value) == ('trust:trusted_host', 'trusted'):
            demands.append([])
        elif key.strip().lower().startswith(('trust:', 'trusted_host')):
            raise ValueError(f'set trust:trusted_host=trusted instead of {key}={value}')
        elif key.startswith('trait') and value != 'forbidden':
            traits.add(key.partition(':')[2])
    traits.update(spec.image.properties.get('traits_required', []) if spec.image else [])
    known = [entry.partition(':') for entry in cfg.CONF.trustpool.traits if traits]
    return demands + [pools.split() for trait, _, pools in known if trait.strip() in traits]


def _fault(answer, demands):
    """Returns what is wrong with a host, '' if nothing is."""
    if answer['trust'] != 'trusted':
        return f"{answer['trust']}, {answer.get('reason')}"
    if timeutils.parse_isotime(answer['expires_at']) <= timeutils.utcnow(with_timezone=True):
        return 'its verdict has expired, or this clock is wrong'
    return '' if all(answer['pool'] in pools for pools in demands if pools) else 'in another pool'


def _ask(conf, nodes):
    """Returns what the server says. Only a thread of its own can be left when time is up."""
    with open(conf.token_file, encoding='latin-1') as file:
        head = {'Authorization': f'Bearer {file.readline().strip()}',
                'Content-Type': 'application/json'}
    tls = ssl.create_default_context(cafile=conf.cafile)
    _, _, host, *path = f'{conf.url.rstrip("/")}/v1/hosts:query'.split('/')
    link = http.client.HTTPSConnection(host, context=tls)
    result = concurrent.futures.Future()

    def talk():
        try:
            plain = socket.create_connection((link.host, link.port), conf.timeout)
            link.sock = tls.wrap_socket(plain, server_hostname=link.host,
                                        do_handshake_on_connect=False)  # it can be ended now
            link.request('POST', '/' + '/'.join(path), json.dumps({'hosts': nodes}), head)
            answer = link.getresponse()
            if answer.status != 200:
                raise ValueError(f'{conf.url} says {answer.status} {answer.reason}')
            result.set_result(json.loads(answer.read(1 << 24))['hosts'])
        except Exception as e:
            result.set_exception(e)
        link.close()
    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    thread.join(conf.timeout)
    if link.sock:
        link.sock.shutdown(socket.SHUT_RDWR)
        raise TimeoutError(f'{conf.url} has not answered in {conf.timeout} s')
    return result.result(0)
