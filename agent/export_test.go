package agent

// Bound is for tests that play the caller.
var Bound = bound

// TLSExtraData is for tests that compare it with the contract.
var TLSExtraData = tlsExtraData
