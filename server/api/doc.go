// Package api has the types of the attestation server's REST API, /v1, and a Client for it. Programs that ask "is this host trusted?" import it and nothing else of the server.
//
// # Conventions
//
// Bodies are JSON in UTF-8, keys in snake_case; a request with a key that is not known is refused. Times are RFC 3339 in UTC. Digests, Names of keys and nonces are lower-case hexadecimal
// digits. What has no value is left out.
//
// Callers show a bearer token (RFC 6750) or a client certificate, over TLS. Each has a role: reader < operator < admin. Whoever has none gets 401 for whatever is asked, also for what does not
// exist; whoever has too small a one gets 403.
//
// An error is a Problem (RFC 9457, application/problem+json):
//
//	400  the request can't be read: no JSON, or a header that means nothing
//	401  no token that counts, and no client certificate that a rule of the server names
//	403  the caller's role is too small
//	404  there is none of this name
//	405  the path takes other methods
//	409  the thing is in a state that does not allow this, or a name is taken
//	412  it was changed since the caller looked: the revision of If-Match is not the present one
//	413  the body is too large
//	415  the body is of no kind that is read here
//	422  what was sent is wrong in itself: Problem.Errors says where
//	428  the change needs If-Match or If-None-Match
//	500  something failed in the server; its log says what
//	503  the database does not answer now, or too many event streams are open
//
// Things that administrators change have a revision, which is also their ETag: "7". A change says by If-Match which revision it is meant for, If-None-Match: * makes something that is not there
// yet. Answers to GET have an ETag, too, and If-None-Match gets 304 while it is the same.
//
// Lists come in pages: limit is how many are wanted (100, at most 1000), after is what the page before gave as next; no next means that this was the last.
//
// # What an answer means
//
// A verdict is what the server judged last, as it stands now: one that has expired is unknown. Whoever keeps one must drop it at its expires_at (Verdict.TrustedAt). The zero Verdict is not trusted.
package api
