package verifier

// TLSExtraData is for tests that compare it with the contract.
var TLSExtraData = tlsExtraData
