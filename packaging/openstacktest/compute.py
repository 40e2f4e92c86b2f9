"""What serve.py needs of Nova: an API whose callers Keystone knows, and compute nodes that nobody runs. Their services are down, so that the API has nobody to call.

COMPUTE_NODES says which: [{"host": a service's, "hostname": a hypervisor's, "uuid": a node's}, ...], and a host may be there more than once."""

import json
import os

os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "1"  # the server around it has threads

from keystonemiddleware import auth_token
from nova import config, context, objects
from nova.api import auth
from nova.api.openstack import compute
from nova.db import migration
from oslo_config import cfg

CONF = cfg.CONF


def application():
    config.parse_args(["nova-api"], default_config_files=[os.environ["NOVA_CONFIG"]])
    objects.register_all()
    for database in "api", "main":
        migration.db_sync(database=database)

    admin = context.get_admin_context()
    cell = objects.CellMapping(
        context=admin, uuid="11111111-1111-4111-8111-111111111111", name="cell1", transport_url="fake://", database_connection=CONF.database.connection
    )
    cell.create()
    with context.target_cell(admin, cell) as inside:
        for node in json.loads(os.environ["COMPUTE_NODES"]):
            add_node(inside, admin, cell, node)

    known = auth_token.AuthProtocol(auth.NovaKeystoneContext(compute.APIRouterV21()), {"oslo_config_config": CONF})

    return under("/v2.1", known)


def add_node(inside, admin, cell, node):
    service = objects.Service.get_by_compute_host(inside, node["host"]) if node.get("again") else None
    if service is None:
        service = objects.Service(inside, host=node["host"], binary="nova-compute", topic="compute", report_count=0)
        service.create()
        objects.HostMapping(admin, host=node["host"], cell_mapping=cell).create()
    size = {"vcpus": 16, "memory_mb": 32768, "local_gb": 500, "vcpus_used": 0, "memory_mb_used": 0, "local_gb_used": 0, "cpu_info": "{}"}
    objects.ComputeNode(
        inside, uuid=node["uuid"], host=node["host"], hypervisor_hostname=node["hostname"], service_id=service.id, hypervisor_type="QEMU", hypervisor_version=1, **size
    ).create()


def under(prefix, app):
    def strip(environ, start_response):
        if environ["PATH_INFO"].startswith(prefix):
            environ["SCRIPT_NAME"] += prefix
            environ["PATH_INFO"] = environ["PATH_INFO"][len(prefix) :]
        return app(environ, start_response)

    return strip
