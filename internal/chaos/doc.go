// Package chaos breaks what a real trustpool-agent stands on, one thing after the other: its TPM, its logs, its files, its certificates, its callers, its process. Each test is
// a row of the fault matrix of docs/reliability.md. While something is broken, callers go on asking, and a witness holds each reply against what the node really is: a reply that
// says OK verifies; otherwise there is none, and the caller is told why.
//
// The agent is the program that is shipped, in a process of its own. The TPM is swtpm; between the two is a gate that delays, cuts and answers in the TPM's place. `make chaos`
// runs the tests: they need root, for a full disk and for a limit of memory.
package chaos
