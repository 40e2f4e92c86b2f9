// Package ear signs verdicts, so that they can be believed without trust in how they came: as EAT Attestation Results (draft-ietf-rats-ear-04) in JWTs (RFC 7519), with the
// trustworthiness claims of draft-ietf-rats-ar4si.
//
// A token says affirming only of a verdict that is trusted at the moment of signing, and ends no later than the verdict does. Nothing can take a token back: whoever needs to know of a change at
// once asks the server, or follows its events.
//
// Ring has the keys. They come from files that the configuration names, or from a Folder in which the server makes them.
package ear
