"""serve.py placement|keystone|nova THREADS: serves that API on a free port of 127.0.0.1 and prints its URL once it answers. It ends when its standard input does.

A Keystone is made first, as its manual says: database, keys, and an administrator whose password is in KEYSTONE_PASSWORD."""

import configparser
import importlib
import os
import socket
import sqlite3
import sys
import threading

import waitress

MODULES = {"placement": ("placement.wsgi", "init_application"), "keystone": ("keystone.server.wsgi", "initialize_public_application"), "nova": ("compute", "application")}


def end_with_parent():
    sys.stdin.buffer.read()
    os._exit(0)


def make_keystone(url):
    from keystone.cmd import cli

    config = os.environ["OS_KEYSTONE_CONFIG_FILES"]
    parsed = configparser.ConfigParser()
    parsed.read(config)
    database = parsed["database"]["connection"].removeprefix("sqlite:///")
    if os.path.exists(database):
        return  # another serves the same one

    owner = ["--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid())]
    endpoints = [f"--bootstrap-{kind}-url={url}/v3" for kind in ("public", "internal", "admin")]
    bootstrap = ["bootstrap", "--bootstrap-password", os.environ["KEYSTONE_PASSWORD"], "--bootstrap-region-id", "RegionOne", *endpoints]

    for step in ["db_sync"], ["fernet_setup", *owner], bootstrap:
        child = os.fork()  # a process takes one command, and imports for seconds
        if child == 0:
            cli.main(argv=["keystone-manage", "--config-file", config, *step])
            os._exit(0)
        if os.waitpid(child, 0)[1] != 0:
            sys.exit(f"keystone-manage {step[0]} failed")

    # A request reads in one connection while it writes in another.
    sqlite3.connect(database).execute("PRAGMA journal_mode=WAL")


def main():
    name, threads = sys.argv[1], int(sys.argv[2])
    sys.argv = [name]  # the application reads it, too

    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the application logs to standard output

    listener = socket.create_server(("127.0.0.1", 0))
    url = "http://127.0.0.1:%d" % listener.getsockname()[1]
    if name == "keystone":
        make_keystone(url)
    threading.Thread(target=end_with_parent, daemon=True).start()

    module, make = MODULES[name]
    server = waitress.create_server(getattr(importlib.import_module(module), make)(), sockets=[listener], threads=threads)
    print(url, file=answer, flush=True)
    server.run()


main()
