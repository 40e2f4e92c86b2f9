"""Runs Nova's own filter handler with TrustedPoolFilter: a line of JSON in, a line out.

In: {"extra_specs": {...}, "nodes": [...]}. Out: {"passed": [...], "seconds": 0.01}.
"""
import nova.monkey_patch  # before whatever opens connections

import json
import sys
import time

from nova import objects
from nova.scheduler import filters
from nova.scheduler import host_manager
from oslo_config import cfg

assert nova.monkey_patch
objects.register_all()
handler = filters.HostFilterHandler()
chosen = [one() for one in handler.get_matching_classes(
    ['trustpool_nova_filter.TrustedPoolFilter'])]
cfg.CONF(sys.argv[1:], project='nova')
for line in sys.stdin:
    ask = json.loads(line)
    spec = objects.RequestSpec(
        flavor=objects.Flavor(name='small', extra_specs=ask['extra_specs']), image=None,
        instance_uuid='b0d1e2f3-0000-4000-8000-000000000001', num_instances=1)
    hosts = [host_manager.HostState(node, node, None) for node in ask['nodes']]
    start = time.monotonic()
    passed = [host.nodename for host in handler.get_filtered_objects(chosen, hosts, spec)]
    print(json.dumps({'passed': passed, 'seconds': time.monotonic() - start}), flush=True)
