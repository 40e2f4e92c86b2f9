"""serve.py placement|keystone THREADS: serves that API on a free port of 127.0.0.1 and prints its URL once it answers. It ends when its standard input does."""

import importlib
import os
import sys
import threading

import waitress

MODULES = {"placement": ("placement.wsgi", "init_application"), "keystone": ("keystone.server.wsgi", "initialize_public_application")}


def end_with_parent():
    sys.stdin.buffer.read()
    os._exit(0)


def main():
    name, threads = sys.argv[1], int(sys.argv[2])
    sys.argv = [name]  # the application reads it, too
    threading.Thread(target=end_with_parent, daemon=True).start()

    url = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the application logs to standard output

    module, make = MODULES[name]
    server = waitress.create_server(getattr(importlib.import_module(module), make)(), host="127.0.0.1", port=0, threads=threads)
    print(f"http://127.0.0.1:{server.effective_port}", file=url, flush=True)
    server.run()


main()
