"""Runs the historic TrustedFilter, whose file is named first, in Nova's own filter handler.

It does what filter_ask.py does; the filter says "crash" instead of what passed where it dies. The
file is not changed. What Nova has lost since it was taken out is added here: its options, with the
defaults that they had, a function that marked texts for translation, and the hosts that the
database would name when the scheduler starts: those of the file in KNOWN.
"""
import nova.monkey_patch  # before whatever opens connections

import importlib.util
import json
import os
import sys
import time

import nova.conf
import nova.i18n
from nova import objects
from nova.scheduler import filters
from nova.scheduler import host_manager
from oslo_config import cfg
import requests

assert nova.monkey_patch
nova.conf.CONF.register_opts([
    cfg.StrOpt('attestation_server'),
    cfg.StrOpt('attestation_server_ca_file'),
    cfg.PortOpt('attestation_port', default=8443),
    cfg.StrOpt('attestation_api_url', default='/OpenAttestationWebServices/V1.0'),
    cfg.StrOpt('attestation_auth_blob', secret=True),
    cfg.IntOpt('attestation_auth_timeout', default=60, min=0),
    cfg.BoolOpt('attestation_insecure_ssl', default=False),
], 'trusted_computing')
nova.i18n._LW = nova.i18n._
objects.register_all()
nova.conf.CONF(sys.argv[2:], project='nova')
objects.ComputeNodeList.get_all = lambda context: [
    objects.ComputeNode(hypervisor_hostname=name) for name in json.loads(os.environ['KNOWN'])]

spec = importlib.util.spec_from_file_location('trusted_filter', sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
handler, chosen = filters.HostFilterHandler(), module.TrustedFilter()
posts = []
send = requests.request


def counted(*args, **kwargs):
    posts.append(args)
    return send(*args, **kwargs)


requests.request = counted
for line in sys.stdin:
    ask = json.loads(line)
    wish = objects.RequestSpec(
        flavor=objects.Flavor(name='small', extra_specs=ask['extra_specs']), image=None,
        instance_uuid='b0d1e2f3-0000-4000-8000-000000000001', num_instances=1)
    hosts = [host_manager.HostState(node, node, None) for node in ask['nodes']]
    start = time.monotonic()
    posts.clear()
    try:
        passed = [host.nodename for host in handler.get_filtered_objects([chosen], hosts, wish)]
    except Exception as e:
        passed = [f'crash: {type(e).__name__}: {e}']
    print(json.dumps({'passed': passed, 'posts': len(posts),
                      'seconds': time.monotonic() - start}), flush=True)
