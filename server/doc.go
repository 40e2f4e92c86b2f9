// Package server is the attestation server: it challenges nodes, compares what they answer with what an administrator declared good, and answers "is this host
// trusted?" from what it stored. The judging is done by package verifier.
//
// # The packages
//
// Each knows those above it in this list, and none below:
//
//	server/internal/trust      What there is to decide, and the deciding: Node, Pool, Set (known-good values), Policy, Verdict. Pure: no input, no output, no clock.
//	server/internal/store      All of that in SQLite or PostgreSQL: one Store, hand-written SQL, migrations. It is the only package with SQL. Every change of an administrator's
//	                           is one transaction that also writes the admin log.
//	server/internal/knowngood  Known-good sets at work: learn drafts from a node's evidence, import and export, compare, and judge beforehand whom a change would condemn.
//	                           Formats, comparison and the digests that new files will give are in verifier/knowngood: an operator runs those offline, by trustpoolctl.
//	server/internal/challenge  The schedule: claims due nodes from the store, enrols or challenges them, has trust judge the answer, stores the outcome.
//	server/internal/access     Who is calling: bearer tokens, client certificates, roles reader < operator < admin.
//	server/internal/ear        Signs verdicts that can be handed on: EAT Attestation Results as JWTs, and the keys.
//	server/internal/webhook    Tells others of changes of verdicts, each in order and at least once.
//	server/internal/rest       /v1 over HTTP: package huma makes OpenAPI of its types. It calls store and knowngood, and has challenge hurry.
//	server/internal/pollhosts  OpenAttestation's PollHosts, answered from the store.
//	server                     Config, and Server, which puts these together and runs them.
//	cmd/trustpool-server       The doorway: flags, files, signals.
//
// # The seams
//
// challenge.Challenger is how a node is asked for evidence:
//
//	Challenge(ctx, node, request) (verifier.Evidence, error)
//
// The server's own dials the node's agent by verifier/client; a load generator of the benchmarks is the other. rest and pollhosts see the store itself: a database that
// several servers share is another dialect of the same package, under the same tests.
//
// # Replicas
//
// Servers that share a PostgreSQL database know of each other by it alone. What is kept in memory is not relied upon: the policy is looked up by its revision at each challenge, and an outcome that was judged by
// another one does not count; tokens are looked up at each request; logs are kept by their digest; how often a node has failed and which sets it met last only save work. Challenges, their nonces and the
// connections to agents are each replica's own.
//
// # Who decides what
//
// store.Lookup takes names and gives verdicts as they stand now: one that has expired comes out as unknown, there and nowhere else. trust.Policy.Judge is the
// only place where a verdict becomes trusted. Times come in as arguments, from whoever has the clock: challenge, rest and pollhosts.
//
// A name belongs to one node, whether it is its own or an alias; the store refuses a second claim and raises an alarm. A caller without a token is answered the same
// for names that exist and names that do not; only the public keys of signed verdicts are for everybody.
package server
