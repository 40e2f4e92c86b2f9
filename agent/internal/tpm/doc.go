// Package tpm is the one owner of the node's TPM: it opens the device, keeps the attestation key (AK) at its persistent handle and signs quotes.
//
// Quoting changes no TPM state: no PCR is reset or extended, nothing stays loaded, and neither lockoutAuth nor any object under dictionary-attack
// protection is ever used.
package tpm
