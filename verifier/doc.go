// Package verifier judges what a node's agent says: a TPM 2.0 quote, the PCR values behind it and the event logs that explain them.
//
// Verify runs every check on an Evidence against a Policy and returns a Result that names each check, its outcome, and the bytes behind a failure. What a
// Trusted verdict proves: the key that the policy pins signed the caller's own nonce together with PCR values that are the known-good ones, after a measured
// launch, and the logs explain these values event by event. The checks trust the caller's nonce and known-good values, and nothing that the node says: not
// the log's text, not the hints, not the values before their digest is compared with the signed one.
//
// What it does not prove: that the pinned key lives in a genuine TPM (Result.EKBinding says what is known of that), the node's integrity after launch, and
// anything of PCRs that were not quoted.
//
// The zero Result refuses, and so does everything left out: an empty known-good set, a PCR without an entry, a check that could not be run. The package
// holds no state, does no input or output, and logs nothing. References such as "Part 2, 10.12.12" are to the Trusted Platform Module Library
// Specification, Family 2.0, revision 1.59.
//
// Enroll binds a node's AK to its TPM: what it checked becomes a NodeRecord, whose AKs Verify then takes in place of pinned ones. An AK that was only pinned is bound by first use.
package verifier
