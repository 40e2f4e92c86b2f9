// Package trust holds what an attestation server decides about, and how it decides: nodes, pools, sets of known-good values, and the verdict that follows from a node's evidence.
//
// It does no input or output and has no clock: the time is an argument. What it trusts is what an administrator declared (a Pool, its Sets, a node's enrolled
// keys); everything else comes from the node and goes through verifier.Verify. The zero value of everything refuses: a zero Verdict is unknown, a Pool without parts and a part without
// sets trust nobody.
//
// BUG: a PCR of a bank belongs to one part. Where a platform's events and the hypervisor's are in the same PCR, as in PCR 17 after a launch by tboot, one set holds them all, and a
// second platform takes a second set, or a second digest in the slots in which it differs.
package trust
