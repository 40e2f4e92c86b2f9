"""A small OpenStack Nova for tests: the real API, conductor, scheduler and compute services of Debian's python3-nova in one process, beside a Placement that runs elsewhere.

It takes one JSON object as its argument:

    placement  the URL of Placement, which takes the token "admin" (auth_strategy = noauth2)
    computes   the names of the hosts, on each of which a nova-compute runs
    filters    dotted names of filter classes that the scheduler uses beside its default ones
    options    {group: {option: value}} for nova.conf, also options that those filters declare
    log        the file for its log

Once all services run it prints one line, {"api": URL}: Nova's API, over TCP, where the token "admin" is an administrator's (auth_strategy = noauth2). Then it reads commands from its standard input,
one JSON object a line, and answers each with a line, {} or {"error": TEXT}:

    {"do": "update"}                   every nova-compute runs its periodic update of resources now
    {"do": "restart", "host": NAME}    that nova-compute ends, and a new one starts; its guests live on

It ends when its standard input does.

What Nova's own test fixtures put in the place of real parts: the message queue (oslo.messaging's fake driver), Glance, Neutron and Cinder, the hypervisors (virt.fake), MariaDB (SQLite in memory).
"""

import nova.monkey_patch  # noqa: F401  (first of all: eventlet has to come before anything that imports ssl)

import importlib
import json
import logging
import os
import sys

import eventlet
from keystoneauth1 import loading

from nova import service
import nova.conf
from nova import test
from nova.tests import fixtures as nova_fixtures

CONF = nova.conf.CONF
HERE = os.path.dirname(os.path.abspath(__file__))


class Cloud(test.TestCase):
    """The services. Its setUp starts them, its cleanups end them."""

    REQUIRES_LOCKING = True

    def __init__(self, wanted):
        super().__init__()
        self.wanted = wanted

    def runTest(self):
        """Is what makes this a test case, which Nova's fixtures need; nothing calls it."""

    def setUp(self):
        super().setUp()
        self.log()
        self.configure()
        self.useFixture(nova_fixtures.RealPolicyFixture())
        self.useFixture(nova_fixtures.NeutronFixture(self))
        self.useFixture(nova_fixtures.CinderFixture(self))
        self.useFixture(nova_fixtures.GlanceFixture(self))

        self.start_service("conductor")
        self.start_service("scheduler")
        for host in self.wanted["computes"]:
            self._start_compute(host)

        self.api = service.WSGIService("osapi_compute")
        self.api.start()
        self.addCleanup(self.api.stop)

    def log(self):
        """Writes what the services log, which the fixtures would keep to themselves."""
        handler = logging.FileHandler(self.wanted["log"])
        handler.setLevel(logging.INFO)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s [%(name)s] %(message)s"))
        logging.getLogger().addHandler(handler)
        self.addCleanup(logging.getLogger().removeHandler, handler)
        # It complains of how Nova makes its clients, for each of them.
        logging.getLogger("oslo_messaging.rpc.client").setLevel(logging.ERROR)

    def configure(self):
        """Sets what an operator would write into nova.conf."""
        CONF.register_opts(loading.get_auth_plugin_conf_options("admin_token"), group="placement")
        filters = CONF.filter_scheduler.enabled_filters
        extra = self.wanted.get("filters", [])
        for name in extra:
            importlib.import_module(name.rpartition(".")[0])
        for group, options in {
            None: {"compute_driver": "fake.MediumFakeDriver", "osapi_compute_listen": "127.0.0.1", "osapi_compute_listen_port": 0},
            "api": {"auth_strategy": "noauth2"},
            "quota": {"instances": -1, "cores": -1, "ram": -1},
            "wsgi": {"api_paste_config": os.path.join(HERE, "nova_api-paste.ini")},
            "placement": {"auth_type": "admin_token", "endpoint": self.wanted["placement"], "endpoint_override": self.wanted["placement"], "token": "admin"},
            "filter_scheduler": {
                "available_filters": ["nova.scheduler.filters.all_filters"] + extra,
                "enabled_filters": filters + [name.rpartition(".")[2] for name in extra],
            },
        }.items():
            self.flags(group=group, **options)
        for group, options in self.wanted.get("options", {}).items():
            self.flags(group=group, **options)

    def update(self):
        self._run_periodics()

    def restart(self, host):
        self.computes[host] = self.restart_compute_service(self.computes[host])


def lines(fd):
    """Yields the lines of a pipe, and lets the services run meanwhile."""
    rest = b""
    while True:
        eventlet.hubs.trampoline(fd, read=True)
        piece = os.read(fd, 65536)
        if not piece:
            return
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole


def obey(cloud, command):
    """Carries one command out and returns its answer."""
    try:
        what = command.pop("do")
        {"update": cloud.update, "restart": cloud.restart}[what](**command)
    except Exception as e:
        logging.exception("carrying out a command")
        return {"error": f"{type(e).__name__}: {e}"}
    return {}


def main():
    # Whatever else prints, prints to standard error.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    cloud = Cloud(json.loads(sys.argv[1]))
    cloud.setUp()
    try:
        print(json.dumps({"api": f"http://127.0.0.1:{cloud.api.port}/v2.1"}), file=answers)
        for line in lines(0):
            print(json.dumps(obey(cloud, json.loads(line))), file=answers)
    finally:
        cloud.doCleanups()


if __name__ == "__main__":
    main()
