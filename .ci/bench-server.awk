# The tables of docs/performance.md from what the benchmarks said: "BenchmarkNAME-2 1 VALUE UNIT VALUE UNIT ...".
/^cpu:/ { cpu = substr($0, 6) }
/^Benchmark/ {
	name = $1; sub(/^Benchmark/, "", name); sub(/-[0-9]+$/, "", name)
	for (i = 3; i < NF; i += 2) said[name, $(i + 1)] = $i
}
function value(name, unit) {
	if (!((name, unit) in said)) { missing = missing " " name " " unit; return "?" }
	v = said[name, unit] + 0
	return v == 0 ? "0" : v < 10 ? sprintf("%.2g", v) : sprintf("%.0f", v)
}
function both(what, kind, unit) { print "| " what " | " value(kind, unit) " | " value(kind "Postgres", unit) " |" }
function pair(what, unit,   a, b) {
	a = value("Queries", unit "-p50-ms") " / " value("Queries", unit "-p99-ms")
	b = value("QueriesPostgres", unit "-p50-ms") " / " value("QueriesPostgres", unit "-p99-ms")
	print "| " what " | " a " | " b " |"
}
function one(what, unit) { print "| " what " | " value("SimulatedNodes", unit) " |" }
END {
	printf "Measured on %s with %s CPUs (%s), %s; the machine's load was %s before and %s at the end.\n\n", at, cpus, cpu, go, before, after
	print "| 10,000 nodes in software | SQLite, one server | PostgreSQL, two |"; print "| --- | --- | --- |"
	both("nodes whose verdict was fresh, at the worst moment, %", "SoftNodes", "fresh-min-%")
	both("verifications per second of the sweep in which all were due at once", "SoftNodes", "verifications/s")
	both("verifications per second of a core of the servers' (PostgreSQL's own processes are not counted)", "SoftNodes", "verifications/core-s")
	both("how long a node waited for its turn: median, ms", "SoftNodes", "lag-p50-ms")
	both("the same, longest, ms", "SoftNodes", "lag-max-ms")
	both("one query of the database meanwhile, p99, ms", "SoftNodes", "query-p99-ms")
	both("memory of the process, with the nodes in it: before, MiB", "SoftNodes", "RSS-idle-MiB")
	both("the same, after, MiB", "SoftNodes", "RSS-MiB")
	printf "\nA verification without the store, the judging alone, takes %.2f ms.\n\n", value("Judge", "ns/op") / 1000000
	print "| 100,000 nodes in the database: p50 / p99, ms | SQLite | PostgreSQL |"; print "| --- | --- | --- |"
	pair("`GET /v1/hosts/NAME`, one caller", "GET")
	both("the same, one caller, the worst p99 of five rounds", "Queries", "GET-p99-worst-ms")
	pair("eight callers at once", "GET-8-callers")
	pair("`POST /v1/hosts:query` with 100 names, one caller", "query-100-names")
	pair("`GET /v1/summary`", "summary")
	print "| the page: the first overview of a server that has just started | " value("Queries", "overview-first-p50-ms") " | " value("QueriesPostgres", "overview-first-p50-ms") " |"
	pair("the overview", "overview")
	pair("a list of nodes, from anywhere", "list")
	pair("the untrusted ones, of which there are none", "list-untrusted")
	pair("the unknown ones, likewise", "list-unknown")
	pair("those whose names begin with some letters", "list-begins")
	pair("one node", "node")
	both("`GET /v1/hosts/NAME` per second, eight callers", "Queries", "GET-8-callers/s")
	both("memory of the process, MiB", "Queries", "RSS-MiB")
	both("the nodes added, and their first verdicts stored, s", "Queries", "filled-s")
	print "\n| 200 simulated nodes, SQLite | |"; print "| --- | --- |"
	one("started, with new TPMs, after s", "start-s")
	one("memory of each: swtpm and its agent, MiB", "MiB/simulated-node")
	one("enrolled and trusted after s", "enrolled-and-trusted-s")
	one("nodes whose verdict was fresh, at the worst moment, %", "fresh-min-%")
	one("how long a node waited for its turn: median, ms", "lag-p50-ms")
	one("the same, longest, ms", "lag-max-ms")
	one("CPU time of the server, % of a core", "server-core-%")
	one("memory of the server: before, MiB", "RSS-idle-MiB")
	one("the same, after, MiB", "RSS-MiB")
	if (missing != "") { print "bench-server: no figure for" missing > "/dev/stderr"; exit 1 }
}
